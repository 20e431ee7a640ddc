"""By what a checkpoint's weights are known: the digest of the files that are loaded, and of any code beside them.

A file is read once for it, as long as nobody writes there, and not at all where another reads it from its beginning to
its end anyway.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from pytest_maxact.checkpoint.files import WeightFiles

_Told = tuple[int, ...]
_PIECE = 1 << 20
_known: dict[tuple[Path, _Told], str] = {}


def weights_digest(files: WeightFiles) -> str:
    """SHA-256 over the names and contents of the loaded weight files, and of any code beside them."""
    state = hashlib.sha256()
    for file in sorted({*files.loaded, *files.folder.glob("*.py")}):
        state.update(files.name(file).encode())
        state.update(bytes.fromhex(file_digest(file)))
    return state.hexdigest()


def file_digest(file: Path) -> str:
    """SHA-256 of a file's content; read once as long as nobody writes there. Raises OSError."""
    alongside = Alongside(file)
    if not alongside.known:
        with file.open("rb") as stream:
            while piece := stream.read(_PIECE):
                alongside.see(memoryview(piece))
        return alongside.keep()
    return alongside.known


class Alongside:
    """The digest of a file that another reads: `see` is given its bytes in order, `keep` ends it. `known`: the digest
    from before, empty where there is none.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._told = file, _told(file.stat())
        self._state, self._seen = hashlib.sha256(), 0
        self.known = _known.get((file, self._told), "")

    def see(self, piece: memoryview) -> None:
        if not self.known:
            self._state.update(piece)
            self._seen += len(piece)

    def keep(self) -> str:
        """The digest of what was seen, which `file_digest` gives from now on where that is the whole of the file, as it
        was at the beginning and still is.
        """
        if self.known:
            return self.known
        found = self._state.hexdigest()
        with suppress(OSError):
            now = self._file.stat()
            if _told(now) == self._told and now.st_size == self._seen:
                _known[self._file, self._told] = found
        return found


def _told(stat: os.stat_result) -> _Told:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
