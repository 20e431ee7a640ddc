"""The guard through which every file goes that a user asks for: a path and a kind of file in, a place that may be
written out, or an InputError.

It guards that the gate destroys nothing: a file is replaced only by one of its own kind, told by its contents and never
by its name; nothing is written into a checkpoint, whatever leads there; and nothing is half-written.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_maxact.errors import InputError
from pytest_maxact.record.whole import Written, write_beside

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_SNAPSHOT = re.compile(r"/(?:models|datasets|spaces)--[^/]+/(?:snapshots|blobs|refs)(?:/|$)")
"""Where huggingface_hub keeps what it downloaded."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file. `called`: in an error's text, as in "the Record"; `is_one`: whether a file is of it, by its
    contents, and false for one that cannot be read. `beside_weights`: the one name under which it may lie in a
    checkpoint's folder, for it describes the checkpoint and is no part of what is loaded; empty for most.
    """

    called: str
    is_one: Callable[[Path], bool]
    beside_weights: str = ""


def require_place(target: Path, kind: Kind, apart: Iterable[Path] = (), own: Path | None = None) -> None:
    """Raise InputError where a file of this kind could not be written to `target`, or not without destroying something;
    asked before measuring, not after.

    `apart`: the checkpoints of the run. `own`: a folder whose files these are, which may look like a checkpoint, as
    that of a training run does.
    """
    require_harmless(target, kind, apart, own)
    with _looking(target, kind):
        place = Path(os.path.realpath(target))
        home = place.parent
        if place.is_dir():
            raise _refused(target, kind, "it is a folder", "give a file")
        if not home.is_dir():
            raise _refused(target, kind, f"there is no folder {home}", "make it, or give a file in one that exists")
        if not may_be_written(home):
            raise _refused(target, kind, _protected(home), "give a file in a folder that may be written")


def require_folder(folder: Path, called: str, apart: Iterable[Path] = ()) -> None:
    """Raise InputError where a folder for files of ours, which need not exist yet, lies in a checkpoint."""
    kind = Kind(called=called, is_one=lambda path: False)
    if reason := inside_checkpoint(folder, apart):
        raise _refused(folder, kind, reason, "give a folder of its own, outside every checkpoint")


def require_writable_folder(folder: Path, called: str) -> None:
    """Raise InputError where such a folder could not be made or written to either; asked before the work, not after."""
    kind = Kind(called=called, is_one=lambda path: False)
    with _looking(folder, kind):
        require_folder(folder, called)
        place = Path(os.path.realpath(folder))
        while not os.path.lexists(place):
            place = place.parent
        if not place.is_dir():
            raise _refused(folder, kind, f"{place} is no folder", "give another")
        if not may_be_written(place):
            raise _refused(folder, kind, _protected(place), "give a folder that may be written")


def require_harmless(target: Path, kind: Kind, apart: Iterable[Path] = (), own: Path | None = None) -> None:
    """Raise InputError where writing to `target` would destroy what is not of this kind, or change a checkpoint."""
    apart = list(apart)
    with _looking(target, kind):
        place = Path(os.path.realpath(target, strict=os.path.exists(target)))
        found = os.stat(place) if os.path.lexists(place) else None
    at_home = bool(kind.beside_weights) and place.name == kind.beside_weights
    if reason := in_hub_cache(place) if at_home else inside_checkpoint(place, apart, own):
        raise _refused(target, kind, reason, "give a path outside every checkpoint; what lies in one is part of it")
    if found is None or stat.S_ISDIR(found.st_mode):
        return
    if not stat.S_ISREG(found.st_mode):
        raise _refused(target, kind, "it is no regular file", "give a file, which is written whole or not at all")
    if not may_be_written(place):
        raise _refused(target, kind, _protected(place), "give another path, or make it writable")
    if found.st_nlink > 1 and any(_holds(folder, found) for folder in apart):
        raise _refused(target, kind, "it is a hard link to a file of a checkpoint", "give another path")
    if found.st_size and not kind.is_one(place):
        raise _refused(
            target, kind, "there is a file of another kind, which would be lost", "give another path, or move it away"
        )


def may_be_written(path: Path) -> bool:
    """Whether a file or folder may be: the system lets us, and its mode lets anybody. A mode does not bind root, but it
    says what its owner means.
    """
    return os.access(path, os.W_OK) and bool(path.stat().st_mode & _WRITABLE)


def _protected(path: Path) -> str:
    mode = stat.S_IMODE(path.stat().st_mode)
    return f"{path} may not be written{'' if mode & _WRITABLE else f' (mode {mode:o})'}"


def output_beside(
    target: Path, content: bytes, kind: Kind, apart: Iterable[Path] = (), own: Path | None = None
) -> Written:
    """A file written whole, and yet to be put in place; a link is followed, and the permissions of what was there stay.
    Raises InputError where that would destroy something, OSError where it cannot be written.
    """
    require_harmless(target, kind, apart, own)
    place = Path(os.path.realpath(target))
    return write_beside(place, content, stat.S_IMODE(place.stat().st_mode) if place.is_file() else None)


def write_output(target: Path, content: bytes, kind: Kind, apart: Iterable[Path] = (), own: Path | None = None) -> None:
    """Likewise, and put in place: it is written whole or not at all."""
    output_beside(target, content, kind, apart, own).put()


def unwritten(error: OSError) -> str:
    """Why a file could not be written, and how to mend that in a line of its own."""
    if error.errno in _NO_ROOM:
        return f"{error.strerror}\n  free space there, or give another path"
    return f"{error.strerror or error}\n  give a path in a folder that exists and may be written"


def inside_checkpoint(path: Path, apart: Iterable[Path] = (), own: Path | None = None) -> str:
    """Why a path counts as inside a checkpoint, "" where it does not: of the run's own by device and inode, of others
    by what lies there.
    """
    try:
        place = Path(os.path.realpath(path))
        if reason := in_hub_cache(place):
            return reason
        of_run = [os.stat(folder) for folder in apart if os.path.isdir(folder)]
        ours = os.stat(own) if own is not None and os.path.isdir(own) else None
        for folder in (place, *place.parents):
            if not os.path.isdir(folder):
                continue
            told = os.stat(folder)
            if any(os.path.samestat(told, one) for one in of_run):
                return f"{folder} is a checkpoint of this run"
            if _looks_like_one(folder) and not (ours and os.path.samestat(told, ours)):
                return f"{folder} is a checkpoint, as its config says"
    except (OSError, ValueError) as error:
        return f"{error}"
    return ""


def in_hub_cache(place: Path) -> str:
    """Why nothing is written there, in words; empty elsewhere."""
    found = _SNAPSHOT.search(place.as_posix())
    return "it lies in the cache of the hub, where checkpoints are kept as they were downloaded" if found else ""


def _looks_like_one(folder: Path) -> bool:
    """Whether a folder holds a model or adapters: a config that names one, with or without weights beside it."""
    config = folder / "config.json"
    if (folder / "adapter_config.json").is_file():
        return True
    try:
        content = json.loads(config.read_bytes()) if config.is_file() else None
    except (OSError, ValueError, RecursionError):
        return any(folder.glob("model*.safetensors"))
    return isinstance(content, dict) and bool({"model_type", "architectures", "auto_map"} & content.keys())


def _holds(folder: Path, told: os.stat_result) -> bool:
    """Whether one of a folder's files is this very one, by another name."""
    return folder.is_dir() and any(os.path.samestat(file.stat(), told) for file in folder.rglob("*") if file.is_file())


@contextmanager
def _looking(target: Path, kind: Kind) -> Iterator[None]:
    """What the system says of a path that nothing can be looked for at."""
    try:
        yield
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else ""
        raise _refused(target, kind, why or str(error), "give a path that can be written") from error


def _refused(target: Path, kind: Kind, reason: str, how: str) -> InputError:
    return InputError(f"{kind.called} cannot be written to {target}: {reason}\n  {how}")
