"""Whether a checkpoint's files are still those that were read: stamps of all that decides what a model is, taken before
the first of it is read and compared after the last.

What was hashed, loaded and measured in between is then one and the same, also where a link was turned to another folder
and back: a link has a time of change of its own.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_maxact.checkpoint.parts import is_small, parts
from pytest_maxact.errors import MeasureError

_Stamp = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Files as they were found. `given`: the folder as it was named; `folder`: where that led. `stamps`: of every file,
    by its path; small ones with a digest of their contents.
    """

    given: Path
    folder: Path
    stamps: tuple[tuple[Path, _Stamp], ...]

    @property
    def known_by(self) -> list[list[object]]:
        """The stamps as plain data, but for the device, which is another on every machine that mounts it."""
        return [
            [str(path), *(part[1:] if isinstance(part, tuple) else part for part in stamp)]
            for path, stamp in self.stamps
        ]


def sealed(given: Path) -> Seal:
    """The small files of a folder as they are now."""
    folder = Path(os.path.realpath(given))
    return Seal(given=given, folder=folder, stamps=tuple((path, _stamp(path)) for path in _small_files(folder)))


def joined(seal: Seal, weights: Iterable[Path]) -> Seal:
    """A seal with weight files as they are now beside what it has."""
    known = dict(seal.stamps)
    return replace(seal, stamps=(*seal.stamps, *((path, _stamp(path)) for path in weights if path not in known)))


def require_unbroken(seal: Seal) -> None:
    """Raise MeasureError where a file is no more what it was, is gone or new, or the folder's name leads elsewhere."""
    if (now := Path(os.path.realpath(seal.given))) != seal.folder:
        raise _changed(seal, f"the name leads to {now} now, and led to {seal.folder}")
    before = dict(seal.stamps)
    after = {path: _stamp(path) for path in {*before, *_small_files(seal.folder)}}
    differing = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    if differing:
        raise _changed(seal, f"{differing[0].name} is not what was read at the beginning")


def _changed(seal: Seal, what: str) -> MeasureError:
    return MeasureError(
        f"{seal.given} changed while it was measured: {what}\n  measure it again when nobody writes there"
    )


def _small_files(folder: Path) -> list[Path]:
    return [file for file in parts(folder) if is_small(file)] if folder.is_dir() else []


def _stamp(path: Path) -> _Stamp:
    """Of a link and of what it leads to: device, inode, size, times of change; of a small file its digest too, for
    times tell changes only as finely as the file system keeps them.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if is_small(path) else ""
        return (os.path.realpath(path), *map(_told, (path.lstat(), path.stat())), digest)
    except OSError as error:
        return (type(error).__name__,)


def _told(stat: os.stat_result) -> _Stamp:
    return stat.st_dev, stat.st_ino, stat.st_mode, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
