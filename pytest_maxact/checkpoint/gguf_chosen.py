"""Which GGUF file is the model: a folder, or the names that a repository of the hub has, in; the one that was chosen,
or that there is, out.

Guard: of several none is taken that was not named. What belongs to a model and is none, a projector of images or
figures of importance, is no choice.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from pytest_maxact.checkpoint.formats.gguf import SUFFIX
from pytest_maxact.checkpoint.formats.gguf_parts import family, whole_ones
from pytest_maxact.errors import InputError, first_line, setting

_BESIDE = re.compile(r"(?:^|[-_.])(?:mmproj|imatrix)(?:[-_.]|$)", re.IGNORECASE)
_LISTED = 8
_OTHERS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def asks_for_gguf(chosen: str | None) -> bool:
    """Whether the weights that were chosen are a GGUF file."""
    return bool(chosen) and str(chosen).lower().endswith(SUFFIX)


def gguf_of(folder: Path, chosen: str | None) -> Path | None:
    """The GGUF file of a folder: the one that was chosen, else the only one where there is no other kind of weights.
    None where the folder is no GGUF model. Raises InputError where the one that was chosen is not there, and where
    there are several.
    """
    if chosen is not None and asks_for_gguf(chosen):
        return _named(folder, chosen)
    if (folder / "config.json").is_file() and any(file.suffix in _OTHERS for file in folder.iterdir()):
        return None
    name = the_one([file.name for file in folder.iterdir() if file.suffix.lower() == SUFFIX], str(folder))
    return folder / name if name else None


def the_one(names: Iterable[str], where: str) -> str:
    """The first part of the only model among GGUF files; empty where there is none. Raises InputError that lists them
    where there are several.
    """
    models = whole_ones([name for name in names if not _BESIDE.search(PurePosixPath(name).name)])
    if len(models) > 1:
        more = f" and {len(models) - _LISTED} more" if len(models) > _LISTED else ""
        raise InputError(
            f"{where} holds {len(models)} models as GGUF files: {', '.join(models[:_LISTED])}{more}\n"
            f"  name one: {setting('weights')} {models[0]}"
        )
    return models[0] if models else ""


def of_hub(name: str, revision: str | None, snapshot: Path) -> list[str]:
    """The GGUF files of a repository, by their paths in it; without a network those that were downloaded."""
    from huggingface_hub import list_repo_files
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        names = list_repo_files(name, revision=revision)
    except (OSError, HfHubHTTPError, OfflineModeIsEnabled):
        names = [file.relative_to(snapshot).as_posix() for file in snapshot.rglob(f"*{SUFFIX}")]
    return [name for name in names if name.lower().endswith(SUFFIX)]


def downloaded(name: str, revision: str | None, chosen: str) -> Path:
    """A GGUF file of a repository with all of its parts, in the cache of the hub. Raises InputError."""
    from huggingface_hub import snapshot_download

    path = PurePosixPath(chosen)
    wanted = [path.with_name(part).as_posix() for part in family(path.name)]
    try:
        snapshot = Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{chosen} of {name} is not in the hub cache, and the hub did not give it ({first_line(error)})\n"
            "  check the network or HF_HOME, or give a file that is on this machine"
        ) from error
    return _named(snapshot, chosen)


def _named(folder: Path, chosen: str) -> Path:
    path = Path(chosen)
    if path.is_absolute() and path.is_relative_to(folder):
        path = path.relative_to(folder)
    if path.is_absolute() or ".." in path.parts or not (folder / path).is_file():
        raise InputError(
            f"{setting('weights')} {chosen}: there is no such file in {folder}\n"
            "  name one by its path in that folder"
        )  # fmt: skip
    return folder / path


def real(path: Path) -> Path:
    """Where a GGUF file lies: what a link leads to, unless that has another kind of name, as blobs of the hub have."""
    found = Path(os.path.realpath(path))
    return found if found.suffix.lower() == SUFFIX else Path(os.path.realpath(path.parent)) / path.name
