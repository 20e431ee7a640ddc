"""Values of small tensors out of weight files: a header in, numbers or what is wrong with them as scales out.

Scales are compared as whole numbers, without converting them: those of a sound tensor lie between the smallest and the
largest bits of a positive finite number, and two reductions tell.
"""

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from pytest_maxact.checkpoint.headers import Header

_FLOATS: dict[str, tuple[Any, Any, int]] = {
    "F64": (np.uint64, np.float64, 0x7FF << 52),
    "F32": (np.uint32, np.float32, 0x7F800000),
    "F16": (np.uint16, np.float16, 0x7C00),
    "BF16": (np.uint16, ml_dtypes.bfloat16, 0x7F80),
    "F8_E4M3": (np.uint8, ml_dtypes.float8_e4m3fn, 0x7F),
    "F8_E5M2": (np.uint8, ml_dtypes.float8_e5m2, 0x7C),
    "F8_E8M0": (np.uint8, ml_dtypes.float8_e8m0fnu, 0xFF),
}
"""By dtype: its bits, its numbers, and the first bits of a magnitude that is not finite."""
_WHOLE: dict[str, Any] = {
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "U32": np.uint32,
    "U64": np.uint64, "U16": np.uint16, "BOOL": np.uint8,
}  # fmt: skip
FLOAT_DTYPES = tuple(_FLOATS)

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaws:
    """What is wrong with scales: how many are NaN or infinite, negative, zero, of how many; the smallest
    and the largest sound one."""

    size: int
    nonfinite: int = 0
    negative: int = 0
    zero: int = 0
    smallest: float = 0.0
    largest: float = 0.0


class Values:
    """Reads tensors of files, each of which is mapped once for each way of reading."""

    def __init__(self, place: Callable[[Header], Path]) -> None:
        self._place = place
        self._maps: dict[tuple[Path, bool], Bytes] = {}

    def raw(self, header: Header, *, here_and_there: bool = False) -> Bytes:
        """The bytes of a tensor. `here_and_there`: of which pieces are read alone, about which the system reads nothing
        ahead; of a hundred thousand tensors that would be all there is.
        """
        which = self._place(header), here_and_there
        if which not in self._maps:
            self._maps[which] = _mapped(*which)
        return self._maps[which][header.start : header.stop]

    def whole(self, header: Header) -> npt.NDArray[Any]:
        """Whole numbers, flat. Raises KeyError for another dtype."""
        return self.raw(header).view(_WHOLE[header.dtype])

    def numbers(self, header: Header) -> npt.NDArray[np.float64]:
        """Floats, flat, as doubles; bytes of exponents are read as such. Raises KeyError for another dtype."""
        dtype = "F8_E8M0" if header.dtype == "U8" else header.dtype
        return np.asarray(self.raw(header).view(_FLOATS[dtype][1]).astype(np.float64))

    def flaws(self, header: Header, *, exponents: bool = False) -> Flaws:
        """`exponents`: bytes are powers of two (E8M0), of which 255 is NaN and 0 the smallest."""
        whole, value, beyond = _FLOATS["F8_E8M0" if exponents else header.dtype]
        bits = self.raw(header).view(whole)
        if not bits.size:
            return Flaws(size=0)
        low, high = int(bits.min()), int(bits.max())
        if low > 0 and high < beyond:
            return Flaws(size=bits.size, smallest=_number(low, whole, value), largest=_number(high, whole, value))
        sign = 0 if exponents or header.dtype == "F8_E8M0" else 1 << (8 * bits.itemsize - 1)
        magnitude = bits & whole(sign - 1) if sign else bits
        broken = magnitude >= whole(beyond)
        negative = (bits >= whole(sign)) & ~broken & (magnitude > 0) if sign else np.zeros(bits.shape, bool)
        sound = magnitude[~broken]
        return Flaws(
            size=bits.size,
            nonfinite=int(np.count_nonzero(broken)),
            negative=int(np.count_nonzero(negative)),
            zero=int(np.count_nonzero(magnitude == 0)),
            smallest=_number(int(sound.min()), whole, value) if sound.size else 0.0,
            largest=_number(int(sound.max()), whole, value) if sound.size else 0.0,
        )

    def zeros(self, header: Header, *, exponents: bool = False) -> npt.NDArray[np.bool_]:
        """Which scales are zero, in their shape."""
        whole = _FLOATS["F8_E8M0" if exponents else header.dtype][0]
        bits = self.raw(header).view(whole).reshape(header.shape)
        if exponents or header.dtype == "F8_E8M0":
            return np.asarray(bits == 0)
        return np.asarray((bits & whole((1 << (8 * bits.itemsize - 1)) - 1)) == 0)


def _mapped(file: Path, here_and_there: bool) -> Bytes:
    with file.open("rb") as stream:
        whole = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    if here_and_there and hasattr(mmap, "MADV_RANDOM"):
        whole.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(whole, np.uint8)


def _number(bits: int, whole: Any, value: Any) -> float:
    return float(np.asarray([bits], whole).view(value).astype(np.float64)[0])
