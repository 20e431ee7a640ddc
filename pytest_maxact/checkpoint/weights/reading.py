"""Weight files read tensor by tensor, each once: what the model is given, what every tensor holds, the errors of
weights and the digests of the files come from one reading.

Tensors are read by their place, not mapped, so that they are no part of the process once they are let go. A digest
takes the bytes of a file in their order: those that come in it in passing, the rest in a second reading of their own.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from types import TracebackType

import numpy as np
import numpy.typing as npt
import torch

from pytest_maxact.checkpoint.digest import Alongside
from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.checkpoint.weights.scan import scan_tensor, together
from pytest_maxact.errors import MeasureError, first_line
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.scan import TensorScan, WeightScan, printable, weight_scan

See = Callable[[Path, str, torch.Tensor], None]
"""Is given every tensor once, with its file and its name there."""
_PIECE = 1 << 24
_LINE = 64
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2, "C64": torch.complex64,
}  # fmt: skip


class Reading:
    """The loaded files, open. `tensor` reads one, `finish` what nobody asked for. `read`: bytes so far, `again`: those
    of them that were read before.
    """

    def __init__(self, files: WeightFiles, see: See) -> None:
        self._files, self._see = files, see
        order = {file: number for number, file in enumerate(files.loaded)}
        held = sorted(files.headers(), key=lambda one: (order[one[0]], one[1].start))
        self._places: dict[str, tuple[Path, Header]] = {header.key: (file, header) for file, header in held}
        self._open: dict[Path, _File] = {}
        self._scans: dict[str, TensorScan] = {}
        self._lock = Lock()
        self.read = 0
        self.again = 0

    def __enter__(self) -> "Reading":
        for file in self._files.loaded:
            self._open[file] = _File(file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._open.values():
            file.close()

    @property
    def headers(self) -> Mapping[str, tuple[Path, Header]]:
        """Every tensor by its name, with its file."""
        return self._places

    def tensor(self, key: str) -> torch.Tensor:
        """A tensor, which is seen by all who take part where it is read for the first time. Raises MeasureError."""
        with self._lock:
            return self._tensor(key)

    def _tensor(self, key: str) -> torch.Tensor:
        path, header = self._places[key]
        content = _room(header)
        raw: npt.NDArray[np.uint8] = content.numpy()
        try:
            self._open[path].read(header.start, raw)
            self.read += len(raw)
            known = key in self._scans
            self.again += len(raw) * known
            if not known:
                self._scans[key] = scan_tensor(header, raw, path)
        except (ValueError, OSError) as error:
            raise MeasureError(f"{path} cannot be read: {first_line(error)}\n  copy or download it again") from error
        if (dtype := DTYPES.get(header.dtype)) is None:
            return content  # of a dtype that no parameter has: scanned, and nothing more
        tensor = content.view(dtype).view(header.shape)
        if not known:
            self._see(path, key, tensor)
        return tensor

    def finish(self, misfits: Mapping[str, str]) -> WeightScan:
        """Read what nobody asked for, and what the digests still want; what every tensor holds."""
        for key in self._places:
            if key not in self._scans:
                self.tensor(key)
        for path, file in self._open.items():
            try:
                more = file.finish()
            except (ValueError, OSError) as error:
                raise MeasureError(f"{path} cannot be read: {first_line(error)}\n  copy it again") from error
            self.read += more
            self.again += more
        scans: dict[str, TensorScan] = {}
        for key in self._places:
            name = printable(key)
            scans[name] = together(scans[name], self._scans[key]) if name in scans else self._scans[key]
        return weight_scan(tuple(map(self._files.name, self._files.loaded)), scans, misfits)


def _room(header: Header) -> torch.Tensor:
    """Memory for a tensor, as far from a multiple of `_LINE` as the file has it: some products of float32 matrices come
    out otherwise in the last bit where a factor lies otherwise, and an ordinary loading maps the file.
    """
    dtype = DTYPES.get(header.dtype, torch.uint8)
    room = torch.empty(header.stop - header.start + _LINE, dtype=torch.uint8)
    first = (header.start - room.data_ptr()) % _LINE
    first *= not (room.data_ptr() + first) % dtype.itemsize
    return room[first : first + header.stop - header.start]


class _File:
    """One file, and the digest of it as far as its bytes came in their order."""

    def __init__(self, path: Path) -> None:
        self._digest = Alongside(path)
        self._file = os.open(path, os.O_RDONLY)
        self._size = os.fstat(self._file).st_size
        self._place = 0
        self._begin()

    def _begin(self) -> None:
        """The header, which is no tensor."""
        length = int.from_bytes(os.pread(self._file, 8, 0), "little")
        content = np.empty(min(8 + length, self._size), np.uint8)
        self.read(0, content)

    def read(self, start: int, into: npt.NDArray[np.uint8]) -> None:
        """Fill an array from a place on. Raises ValueError where the file ends before."""
        view, had = into.data.cast("B"), 0
        while had < len(view):
            piece = os.preadv(self._file, [view[had : had + _PIECE]], start + had)
            if not piece:
                raise ValueError(f"it ends after {counted(start + had, 'byte')}")
            had += piece
        if start == self._place:
            self._digest.see(view)
            self._place += len(view)

    def finish(self) -> int:
        """The digest of all of it; how many bytes were read once more for that."""
        start = self._place
        if not self._digest.known:
            buffer = np.empty(_PIECE, np.uint8)
            while self._place < self._size:
                self.read(self._place, buffer[: min(_PIECE, self._size - self._place)])
            self._digest.keep()
        return self._place - start

    def close(self) -> None:
        os.close(self._file)
