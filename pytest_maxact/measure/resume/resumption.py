"""Where a measurement keeps its bookmark, whether it went on from one, and its end. No torch.

A bookmark is removed by whoever has the Record safe, and by whatever ends a measurement but a kill: what failed is not
gone on from. Of files only those are touched that are bookmarks by their names.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pytest_maxact.errors import BrokenOffError

_SUFFIX = ".bookmark"
_KEPT_SECONDS = 14 * 86400
"""So long a bookmark lies where nobody comes back to it."""


class Resumption:
    """Of one measurement. `named`: how names of its bookmarks begin. `told`: a file that is written to whenever a
    bookmark is, for whoever asks whether anything was gained before a process died. `make` makes the folder, which is
    not there before the first bookmark.
    """

    def __init__(
        self, folder: Path, named: str = "pass", told: Path | None = None, make: Callable[[], object] | None = None
    ) -> None:
        self.folder, self.named, self.told = folder, named.encode(errors="ignore")[:100].decode(errors="ignore"), told
        self.make = make or (lambda: folder.mkdir(parents=True, exist_ok=True))
        self.remark = ""
        """From where the measurement went on, or why it did not; empty where it began anew."""
        self.settled: Callable[[], None] = lambda: None
        """Called when there is nothing left to go on with: for others who keep bookmarks of the same measurement."""
        self._path: Path | None = None

    def open(self, key: str) -> Path:
        """Where the bookmark of a measurement lies, or would. Those that nobody came back to are removed."""
        for path in self.folder.glob(f".{_literal(self.named)}.*{_SUFFIX}*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                    _remove(path)
        self._path = self.folder / f".{self.named}.{key[:32]}{_SUFFIX}"
        return self._path

    def written(self) -> None:
        """Tell that there is more to go on from than there was."""
        if self.told:
            self.told.write_bytes(b"a bookmark was written")

    def complete(self) -> None:
        """There is nothing left to go on with."""
        self.settled()
        if self._path:
            for path in (self._path, *self.beside(".partial"), *self.beside(".states")):
                _remove(path)

    def place(self, name: str) -> Path:
        """Where something lies that belongs to the bookmark, and is too large for it; its name ends in `.states`."""
        assert self._path is not None
        return self._path.with_name(f"{self._path.name}.{name}")

    def beside(self, ending: str = ".states") -> list[Path]:
        """All that lies there under names with this ending."""
        return list(self.folder.glob(f"{_literal(self._path.name)}.*{ending}")) if self._path else []


@contextmanager
def until_safe(resumption: Resumption | None) -> Iterator[None]:
    """While there is no Record yet, or it is not where it belongs: what is broken off, by a kill or by hand, here or in
    a process that shares it, can go on; what ends or fails cannot.
    """
    try:
        yield
    except BrokenOffError:
        raise
    except Exception:
        if resumption:
            resumption.complete()
        raise
    if resumption:
        resumption.complete()


def _remove(path: Path) -> None:
    """A bookmark, or the folder in which one was being written."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _literal(name: str) -> str:
    """A name as a pattern that matches nothing else."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
