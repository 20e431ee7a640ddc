"""Hidden states on disk while nobody needs them: tensors in, which lose their memory and get it back byte by byte.

They lie in a folder of this process, one file to each piece of work, read through a map and held to a checksum. What is
laid down next is another file of that name: a link to the one before, which a bookmark has, stays as it is. The folder
goes when the pass ends, and where the process was killed, with the next pass on this machine: a lock that dies
with its process tells which folders nobody uses. Nothing else is ever deleted.
"""

import ctypes
import fcntl
import mmap
import os
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pytest_maxact.errors import MeasureError, first_line
from pytest_maxact.measure.observe.products import tensors_in

_PREFIX = "maxact-spill-"
_LOCK = "in-use"


class Folder:
    """A folder for the duration of a context, and the way to what others left behind when they were killed."""

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent or Path(tempfile.gettempdir())
        self._lock = -1
        self._files = 0
        self.path = Path()
        self.written = 0
        """Bytes laid down so far."""

    def __enter__(self) -> "Folder":
        clear(self._parent)
        try:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._parent))
            beginning = self.path / "beginning"
            self._lock = os.open(beginning, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            beginning.rename(self.path / _LOCK)  # locked before it has the name by which others look for it
        except OSError as error:
            raise _unwritable(self._parent, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def spill(self, width: int) -> "Spill":
        """A file of its own for one piece of work; `width`: how wide the residual stream is."""
        self._files += 1
        return Spill(self, self.path / f"{self._files}.states", width)


def clear(parent: Path) -> list[Path]:
    """Delete the folders that killed processes left in `parent`; which."""
    gone = []
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):
            if lock.parent.is_symlink() or lock.stat().st_uid != os.getuid():
                continue
            held = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent)
                gone.append(lock.parent)
            finally:
                os.close(held)
    return gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What was the contents of one piece of memory, and where in the file it lies."""

    start: int
    size: int
    checksum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """What was laid down at once, and whose memory it was."""

    parts: tuple[Part, ...] = ()
    storages: tuple[torch.UntypedStorage, ...] = ()


class Spill:
    """The file of one piece of work."""

    def __init__(self, folder: Folder, path: Path, width: int) -> None:
        self._folder, self.path, self._width = folder, path, width

    def lay_down(self, given: Any) -> Laid:
        """Write what of a layer's arguments is as wide as the residual stream, and take its memory. Raises
        MeasureError where the disk is full.
        """
        storages = self.storages(given)
        parts, place = [], 0
        if not storages:
            return Laid()
        try:
            self.path.unlink(missing_ok=True)
            with self.path.open("wb") as file:
                for storage in storages:
                    content = _bytes(storage)
                    file.write(content)
                    parts.append(Part(start=place, size=storage.nbytes(), checksum=zlib.crc32(content)))
                    place += storage.nbytes()
        except OSError as error:
            raise _unwritable(self._folder.path, error) from error
        for storage in storages:
            storage.resize_(0)
        self._folder.written += place
        return Laid(parts=tuple(parts), storages=tuple(storages))

    def take_up(self, laid: Laid) -> None:
        """Give tensors their memory and contents again. Raises MeasureError where these are not what they were."""
        self.take_up_into(laid, laid.storages)

    def take_up_into(self, laid: Laid, storages: Sequence[torch.UntypedStorage]) -> None:
        """The same into other memory, in the same order."""
        if not laid.parts:
            return
        try:
            with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                for part, storage in zip(laid.parts, storages, strict=True):
                    with memoryview(mapped) as whole, whole[part.start : part.start + part.size] as content:
                        if len(content) != part.size:
                            raise ValueError("it was cut off")
                        storage.resize_(part.size)
                        _into(storage, content)
                    if zlib.crc32(_bytes(storage)) != part.checksum:
                        raise ValueError("its contents are others")
        except (OSError, ValueError) as error:
            raise _changed(self.path, error) from error

    def storages(self, given: Any) -> list[torch.UntypedStorage]:
        """The memory of hidden states among a layer's arguments, each once, in their order."""
        found = {
            storage.data_ptr(): storage
            for tensor in tensors_in(given)
            if self.is_wide(tensor) and (storage := tensor.untyped_storage()).resizable() and storage.nbytes()
        }
        return list(found.values())

    def is_wide(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor may be hidden states: as wide as the residual stream, or wider."""
        return (
            tensor.is_floating_point()
            and tensor.ndim > 1
            and tensor.shape[-1] >= self._width
            and not isinstance(tensor, torch.nn.Parameter)
        )


def _bytes(storage: torch.UntypedStorage) -> memoryview:
    """The contents, on the host. Not through numpy, for a storage that numpy has seen keeps its size."""
    if storage.device.type == "cpu":
        return memoryview((ctypes.c_ubyte * storage.nbytes()).from_address(storage.data_ptr())).cast("B")
    array: npt.NDArray[np.uint8] = raw(storage).cpu().numpy()
    return array.data


def _into(storage: torch.UntypedStorage, content: memoryview) -> None:
    if storage.device.type == "cpu":
        _bytes(storage)[:] = content
    else:
        host = torch.frombuffer(bytearray(content), dtype=torch.uint8).pin_memory()
        raw(storage).copy_(host, non_blocking=True)


def raw(storage: torch.UntypedStorage) -> torch.Tensor:
    """The memory as bytes."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _unwritable(folder: Path, error: OSError) -> MeasureError:
    return MeasureError(
        f"hidden states cannot be laid down in {folder}: {error.strerror}\n"
        "  name a folder with room in the environment variable TMPDIR"
    )


def _changed(path: Path, error: Exception) -> MeasureError:
    return MeasureError(
        f"{path}: hidden states are not what was written there ({first_line(error)})\n"
        "  nobody else may write to this folder"
    )
