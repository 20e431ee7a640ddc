"""Weight files read once, in order, a few MiB at a time: of every tensor how many entries are not finite, the largest
finite magnitude, and whether it holds anything but zeros. Exact, in every dtype that safetensors knows.

Magnitudes are compared as whole numbers: of a float without its sign the bits are in the order of the values, and what
is not finite lies above them. Guards that no tensor passes because the measurement does not run it.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from pytest_maxact.checkpoint.digest import Alongside
from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.formats.gguf import is_gguf
from pytest_maxact.checkpoint.headers import Header, headers_of
from pytest_maxact.checkpoint.weights.scan_gguf import scanned_gguf
from pytest_maxact.errors import MeasureError, first_line
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import Lint
from pytest_maxact.numbers.scan import TensorScan, WeightScan, matrices_of, may_be_infinite, printable, weight_scan

Feed = Callable[[memoryview], object]
"""Is given the bytes of a file in order, all of them, as they are read: what a digest of the file takes."""
_PIECE = 1 << 20
_READERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bits:
    """How the entries of a dtype lie in whole numbers: `bits` of a magnitude by `mask`, not finite from `beyond` on or,
    where a dtype has one NaN alone, where all bits are `nan`. `value`: the dtype in which a magnitude is a number.
    """

    whole: Any
    mask: int
    beyond: int
    value: Any
    nan: int | None = None

    @property
    def infinities(self) -> bool:
        """Whether `beyond` is infinity, and what lies above it NaN."""
        return self.value not in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e8m0fnu)


_FLOATS = {
    "F64": _Bits(whole=np.uint64, mask=(1 << 63) - 1, beyond=0x7FF << 52, value=np.float64),
    "F32": _Bits(whole=np.uint32, mask=0x7FFFFFFF, beyond=0x7F800000, value=np.float32),
    "C64": _Bits(whole=np.uint32, mask=0x7FFFFFFF, beyond=0x7F800000, value=np.float32),
    "F16": _Bits(whole=np.uint16, mask=0x7FFF, beyond=0x7C00, value=np.float16),
    "BF16": _Bits(whole=np.uint16, mask=0x7FFF, beyond=0x7F80, value=ml_dtypes.bfloat16),
    "F8_E4M3": _Bits(whole=np.uint8, mask=0x7F, beyond=0x7F, value=ml_dtypes.float8_e4m3fn),
    "F8_E5M2": _Bits(whole=np.uint8, mask=0x7F, beyond=0x7C, value=ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": _Bits(whole=np.uint8, mask=0x7F, beyond=0x80, value=ml_dtypes.float8_e4m3fnuz, nan=0x80),
    "F8_E5M2FNUZ": _Bits(whole=np.uint8, mask=0x7F, beyond=0x80, value=ml_dtypes.float8_e5m2fnuz, nan=0x80),
    "F8_E8M0": _Bits(whole=np.uint8, mask=0xFF, beyond=0xFF, value=ml_dtypes.float8_e8m0fnu),
}
_WHOLE = {
    "BOOL": np.uint8, "U8": np.uint8, "I8": np.int8, "I16": np.int16, "U16": np.uint16, "I32": np.int32,
    "U32": np.uint32, "I64": np.int64, "U64": np.uint64,
}  # fmt: skip
_PACKED = frozenset({"F4", "F6_E2M3", "F6_E3M2"})
"""Several entries to a byte, all of them finite; their largest magnitude is not told apart from zero or not."""


def scan_weights(files: WeightFiles, misfits: Mapping[str, str], lint: Lint | None = None) -> WeightScan:
    """Of every tensor of the loaded files, whether they go into it or not. The digest of each file is told by the same
    reading; `misfits` and `lint` are what headers and scales told before.
    """
    digests: dict[Path, Alongside] = {}

    def digesting(file: Path) -> Feed:
        return digests.setdefault(file, Alongside(file)).see

    scans = scan_files(files.loaded, None if files.is_gguf else digesting)
    for digest in digests.values():
        digest.keep()
    return weight_scan(tuple(map(files.name, files.loaded)), scans, misfits, lint)


def scan_files(files: Sequence[Path], feeds: Callable[[Path], Feed] | None = None) -> dict[str, TensorScan]:
    """Every tensor of the files, by name; what several files hold under one name counts together. Memory stays at a
    few MiB, and every byte is read once; `feeds` gives what else is to see the bytes of a file.

    Raises MeasureError for a file that cannot be read, or holds a dtype that is not known.
    """
    found: dict[str, TensorScan] = {}
    with ThreadPoolExecutor(_READERS) as readers:
        for scans in readers.map(lambda file: dict(_scanned(file, feeds or _unseen)), files):
            for name, scan in scans.items():
                found[name] = together(found[name], scan) if name in found else scan
    return found


def _unseen(file: Path) -> Feed:
    return lambda piece: None


def _scanned(file: Path, feeds: Callable[[Path], Feed]) -> Iterator[tuple[str, TensorScan]]:
    if is_gguf(file):
        yield from scanned_gguf(file)
        return
    try:
        headers = sorted(headers_of(file), key=lambda header: header.start)
        with file.open("rb", buffering=0) as stream:
            pieces = _Pieces(stream, feeds(file))
            for header in headers:
                pieces.skip_to(header.start)
                yield printable(header.key), _tensor(header, pieces, file)
            pieces.skip_to(file.stat().st_size)
    except (ValueError, OSError) as error:
        raise MeasureError(f"{file} cannot be read: {first_line(error)}\n  copy or download it again") from error


class _Pieces:
    """A file from its beginning to its end, in pieces of one buffer that is written again and again."""

    def __init__(self, stream: io.RawIOBase, feed: Feed) -> None:
        self._stream, self._feed = stream, feed
        self._buffer = np.empty(_PIECE, np.uint8)
        self._place = 0

    def up_to(self, stop: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Raises ValueError where the file ends before."""
        view = self._buffer.data
        while self._place < stop:
            wanted = min(_PIECE, stop - self._place)
            had = 0
            while had < wanted:
                read = self._stream.readinto(view[had:wanted])
                if not read:
                    raise ValueError(f"it ends after {counted(self._place + had, 'byte')}")
                had += read
            self._feed(view[:wanted])
            self._place += wanted
            yield self._buffer[:wanted]

    def skip_to(self, start: int) -> None:
        for _ in self.up_to(start):
            pass


class _InMemory:
    """The bytes of one tensor, which begin at `place` of its file, in such pieces."""

    def __init__(self, content: npt.NDArray[np.uint8], place: int) -> None:
        self._content, self._start, self._place = content, place, place

    def up_to(self, stop: int) -> Iterator[npt.NDArray[np.uint8]]:
        while self._place < stop:
            end = min(stop, self._place + _PIECE)
            yield self._content[self._place - self._start : end - self._start]
            self._place = end


def scan_tensor(header: Header, content: npt.NDArray[np.uint8], file: Path) -> TensorScan:
    """Of one tensor, given its bytes. Raises ValueError for a dtype that is not known."""
    return _tensor(header, _InMemory(content, header.start), file)


def _tensor(header: Header, pieces: _Pieces | _InMemory, file: Path) -> TensorScan:
    """Of one tensor, matrix by matrix where it is a stack of several."""
    matrices = matrices_of(header.key, header.shape)
    size = (header.stop - header.start) // (matrices or 1)
    largest, nonfinite, empty = 0.0, 0, 0
    for number in range(matrices or 1):
        stop = header.stop if number == (matrices or 1) - 1 else header.start + size * (number + 1)
        top, broken, filled = _part(header.dtype, pieces.up_to(stop), may_be_infinite(header.key))
        largest, nonfinite = max(largest, top), nonfinite + broken
        empty += bool(matrices) and not filled
    return TensorScan(
        file=file.name,
        dtype=header.dtype,
        shape=header.shape,
        elements=int(np.prod(header.shape, dtype=object)) if header.shape else 1,
        nonfinite=nonfinite,
        largest=largest,
        empty=empty,
    )


def _part(dtype: str, pieces: Iterator[npt.NDArray[np.uint8]], infinite: bool) -> tuple[float, int, bool]:
    """The largest finite magnitude, how many entries are not finite, and whether any is not zero; `infinite`: NaN alone
    counts as not finite.
    """
    if dtype in _FLOATS:
        return _floats(_FLOATS[dtype], pieces, infinite)
    if dtype in _WHOLE:
        top = 0
        for piece in pieces:
            whole = piece.view(_WHOLE[dtype])
            top = max(top, int(whole.max()), -int(whole.min()))
        return float(top), 0, top > 0
    if dtype in _PACKED:
        return 0.0, 0, any([bool(piece.any()) for piece in pieces])  # noqa: C419 - every piece is to be read
    raise ValueError(f"it holds {dtype}, a dtype that is not known here")


def _floats(how: _Bits, pieces: Iterator[npt.NDArray[np.uint8]], infinite: bool) -> tuple[float, int, bool]:
    top = nonfinite = unbound = 0
    for piece in pieces:
        raw = piece.view(how.whole)
        bits = raw & how.whole(how.mask)
        if how.nan is not None:
            broken = int(np.count_nonzero(raw == how.whole(how.nan)))
        else:
            broken = 0
            if int(bits.max()) >= how.beyond:
                beyond = bits >= how.whole(how.beyond)
                meant = int(np.count_nonzero(bits == how.whole(how.beyond))) if infinite and how.infinities else 0
                broken = int(np.count_nonzero(beyond)) - meant
                unbound += meant
                bits[beyond] = 0
        nonfinite += broken
        top = max(top, int(bits.max()))
    filled = top > 0 or nonfinite > 0 or unbound > 0 or how.mask == 0xFF
    return float(np.asarray([top], how.whole).view(how.value).astype(np.float64)[0]), nonfinite, filled


def together(one: TensorScan, other: TensorScan) -> TensorScan:
    """Of two tensors of one name."""
    return TensorScan(
        file=f"{one.file}, {other.file}",
        dtype=one.dtype,
        shape=one.shape,
        elements=one.elements + other.elements,
        nonfinite=one.nonfinite + other.nonfinite,
        largest=max(one.largest, other.largest),
        empty=one.empty + other.empty,
    )
