"""A path or hub id to a checkpoint's folder, config and weight files; everything that can be wrong before weights are
loaded.

Weights are data: safetensors only. `trust_remote_code` is off unless asked for, and for a hub id only with a pinned
commit.
"""

import os
import re
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_maxact.checkpoint.artifact import refuse_stand_ins
from pytest_maxact.checkpoint.config import read_config, read_gguf_config
from pytest_maxact.checkpoint.depth import require_depth
from pytest_maxact.checkpoint.files import WeightFiles, gguf_files, weight_files
from pytest_maxact.checkpoint.formats.gguf import is_gguf
from pytest_maxact.checkpoint.formats.stated import Quantization, stated_quantization, without
from pytest_maxact.checkpoint.gguf_chosen import asks_for_gguf, downloaded, gguf_of, of_hub, real, the_one
from pytest_maxact.checkpoint.lint.look import with_lint
from pytest_maxact.checkpoint.no_model import no_folder, no_model, of_adapters
from pytest_maxact.checkpoint.quantized import refuse_unread, with_packing
from pytest_maxact.checkpoint.seal import Seal, joined, require_unbroken, sealed
from pytest_maxact.errors import InputError, first_line, setting
from pytest_maxact.settings.places import expanded
from pytest_maxact.settings.settings import Settings
from pytest_maxact.settings.userfiles import reachable, refuse_stand_in, unreadable

_SMALL_FILES = ["*.json", "*.jinja", "*.model", "*.txt", "tokenizer*", "merges*", "vocab*"]
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_HUB_ID = re.compile(r"^[\w][\w.-]*(/[\w][\w.-]*)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a checkpoint lies and what its config says; no weights are loaded yet."""

    name: str
    folder: Path
    revision: str | None
    config: Any
    trust_remote_code: bool
    is_hub: bool
    as_read: Any = None
    """The config as it was read: building a model writes into the other."""
    seal: Seal | None = None
    """All that was read of it, and will be, as it was before; None of a live model and of a config alone."""
    quantized: Quantization | None = None
    """What is said of weights in low bits. The config says nothing of it: the model that is built is the source's."""
    gguf: str | None = None
    """The name of the one file that is all of it: config, tokenizer and weights."""


def locate(settings: Settings, weights: bool = True) -> Checkpoint:
    """Find the checkpoint and read its config. Raises InputError for everything a caller can get wrong before weights
    are loaded.

    Without `weights` a folder need not hold any, and the config file itself may be named.
    """
    name = settings.model
    if name is None:
        raise InputError(f"no model given\n  use {setting('model')}=PATH_OR_HUB_ID")
    path = _readable(expanded(name))
    is_hub = not path.exists()
    if (file := _gguf_meant(name, path, settings)) is not None:
        return _of_gguf(name, file, _commit_of(file) if is_hub else None)
    if is_hub:
        folder = fetch(name, settings)
    elif path.is_dir():
        folder = path
    elif not weights and path.suffix == ".json":
        return Checkpoint(
            name=name, folder=path.parent, revision=None, config=read_config(path, settings.trust_remote_code),
            trust_remote_code=settings.trust_remote_code, is_hub=False,
        )  # fmt: skip
    else:
        refuse_stand_in(path)
        raise no_folder(path, weights)
    if reason := of_adapters(folder):
        raise InputError(f"{folder} is not a model directory: {reason}")
    if not (folder / "config.json").is_file():
        raise no_model(folder)
    refuse_stand_ins(folder)
    seal = sealed(folder)
    folder = seal.folder
    config = read_config(folder / "config.json", settings.trust_remote_code)
    quantized = stated_quantization(config, folder)
    without(config)
    found = Checkpoint(
        name=name,
        folder=folder,
        revision=folder.name if is_hub else None,
        config=config,
        trust_remote_code=settings.trust_remote_code,
        is_hub=is_hub,
        as_read=deepcopy(config),
        seal=seal,
        quantized=quantized,
    )
    if not weights:
        return found
    if not weights_are_here(found):
        refuse_unread(quantized)
        return found
    try:
        files = _weight_files(found, folder, settings)
    except InputError as error:
        if quantized is None or is_hub:
            raise
        raise with_lint(error, folder) from error
    quantized = files.packing.stated if files.packing else None
    return replace(found, seal=joined(seal, files.read), quantized=quantized)


def _gguf_meant(name: str, path: Path, settings: Settings) -> Path | None:
    """The GGUF file that a path or hub id means; None where it means none. Raises InputError."""
    if not path.exists():
        return _gguf_of_hub(name, settings)
    if path.is_dir():
        return None if of_adapters(path) else gguf_of(path, settings.weights)
    return path if is_gguf(path) else None


def _gguf_of_hub(name: str, settings: Settings) -> Path | None:
    """The GGUF file that a hub id means, downloaded: the one that was chosen, else the only one of a repository without
    a config.json. None where it is no model in GGUF. Raises InputError.
    """
    if asks_for_gguf(settings.weights):
        require_hub_id(name)
        return downloaded(name, settings.revision, str(settings.weights))
    snapshot = fetch(name, settings)
    if (snapshot / "config.json").is_file():
        return None
    chosen = the_one(of_hub(name, settings.revision, snapshot), name)
    return downloaded(name, settings.revision, chosen) if chosen else None


def _of_gguf(name: str, path: Path, revision: str | None = None) -> Checkpoint:
    """A GGUF file, or the parts of one, whose config is made of what it says of itself. Raises InputError."""
    refuse_stand_in(path)
    files = gguf_files(real(path))
    config = read_gguf_config(files.loaded)
    file = files.loaded[0]
    require_depth(config, (header.key for _, header in files.headers()), file)
    assert files.packing is not None
    return Checkpoint(
        name=name, folder=file.parent, revision=revision, config=config, trust_remote_code=False, is_hub=False,
        as_read=deepcopy(config), seal=joined(sealed(file.parent), files.read), quantized=files.packing.stated,
        gguf=file.name,
    )  # fmt: skip


def _readable(path: Path) -> Path:
    """The path. Raises InputError where the system does not even tell whether it is there, or what is in it."""
    try:
        if reachable(path).is_dir():
            next(path.iterdir(), None)
            (path / "config.json").is_file()
        return path
    except OSError as error:
        raise unreadable(path, error) from error


def weights_are_here(checkpoint: Checkpoint) -> bool:
    """Whether its weight files are on this machine: those of a hub id are downloaded when it is measured."""
    return not checkpoint.is_hub or any(checkpoint.folder.glob("*.safetensors"))


def with_weights(checkpoint: Checkpoint, settings: Settings) -> WeightFiles:
    """The weight files of a located checkpoint, downloaded where they were not, and sound. Raises InputError."""
    folder = checkpoint.folder
    if checkpoint.gguf:
        return gguf_files(folder / checkpoint.gguf)
    if checkpoint.is_hub:
        folder = Path(
            os.path.realpath(fetch(checkpoint.name, replace(settings, revision=checkpoint.revision), weights=True))
        )
    return _weight_files(checkpoint, folder, settings)


def _weight_files(checkpoint: Checkpoint, folder: Path, settings: Settings) -> WeightFiles:
    config = checkpoint.config
    stated = (getattr(one, "transformers_weights", None) for one in (config, config.get_text_config()))
    files = weight_files(
        folder,
        chosen=settings.weights,
        stated=next(filter(None, stated), None),
        extra=getattr(type(config), "extra_files", ()),
        hub=checkpoint.is_hub,
    )
    files = with_packing(files, checkpoint.quantized)
    require_depth(config, (header.key for _, header in files.headers()), folder / "config.json")
    return files


def with_seal(checkpoint: Checkpoint, files: WeightFiles) -> Checkpoint:
    """The checkpoint with its weight files sealed too, which of a hub id were not there before."""
    return replace(checkpoint, seal=joined(checkpoint.seal, files.read)) if checkpoint.seal else checkpoint


def require_unchanged(checkpoint: Checkpoint) -> None:
    """Raise MeasureError where a file of the checkpoint is no more what it was when it was located."""
    if checkpoint.seal:
        require_unbroken(checkpoint.seal)


def require_hub_id(name: str) -> None:
    """Raise InputError for a name that is no hub id."""
    if not _HUB_ID.match(name) or name.count("/") > 1:
        raise InputError(
            f"no model at {name}: there is no such folder, and it is not a hub id\n"
            "  give a folder with config.json, or a hub id such as org/name"
        )


def _commit_of(file: Path) -> str | None:
    """The commit of a file in the hub's cache, by the folder of its snapshot."""
    return next((folder.name for folder in file.parents if _COMMIT.match(folder.name)), None)


def fetch(name: str, settings: Settings, weights: bool = False) -> Path:
    """The local snapshot of a hub id: its small files, code where that is trusted, the weights where asked for. Raises
    InputError.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    require_hub_id(name)
    if settings.trust_remote_code and not _COMMIT.match(settings.revision or ""):
        raise InputError(
            f"{setting('trust_remote_code')} runs the repository's own code, so it needs the commit that was reviewed\n"
            f"  add {setting('revision')}=<40-digit commit>"
        )
    patterns = [
        *_SMALL_FILES,
        *(["*.py"] if settings.trust_remote_code else []),
        *(["*.safetensors"] if weights else []),
    ]
    try:
        return Path(
            snapshot_download(name, revision=settings.revision, allow_patterns=patterns, ignore_patterns=["*/*"])
        )
    except (OSError, ValueError, RuntimeError, HFValidationError) as error:
        at = f" at revision {settings.revision}" if settings.revision else ""
        raise InputError(
            f"no model {name}{at}: no such folder here, not whole in the hub cache, and {_why_not(error)}"
        ) from error


def _why_not(error: Exception) -> str:
    """Why the hub did not give it, and what to do."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return (
            "the hub was not asked, for HF_HUB_OFFLINE is set\n  check the path or id, the revision and HF_HOME; or"
            " unset HF_HUB_OFFLINE, or fetch it where there is a network, with `hf download`"
        )
    return (
        f"the hub did not give it ({first_line(error)})\n  check the path or id, the revision, the network or HF_HOME"
    )
