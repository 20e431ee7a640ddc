"""Whole-number arrays as compressed bytes and back, without loss: neighbouring counts of a histogram differ by little,
and little is what is stored.

What is packed is split into byte planes, the lowest byte of every entry, then the next, and every plane becomes one
zlib stream: of the differences of counts the lowest plane is noise, and the others are nearly even. The same array
gives the same bytes on one machine; other builds of zlib may write others, and read these.

What has neither repeats nor small steps, yet is not even, is squeezed: LZMA, whose range coder learns the distribution
as it goes, leaves less of it than the codes of zlib, in a few times the time.
"""

import lzma
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pytest_maxact.numbers.counted import counted

Bytes = npt.NDArray[np.uint8]
_Whole = TypeVar("_Whole", np.uint16, np.uint32, np.int64)
_MOST_PER_BYTE = 1032
"""A byte of a zlib stream stands for so many at most."""
_MOST_SQUEEZED = 1 << 14
"""And of LZMA: of nothing but zeros it stands for some 6 700."""
_LEARNED: Mapping[str, int] = {
    "id": lzma.FILTER_LZMA2, "dict_size": 1 << 20, "mode": lzma.MODE_NORMAL, "mf": lzma.MF_HC3, "nice_len": 8,
    "depth": 1, "lc": 0,
}  # fmt: skip
"""The search for repeats is kept short, as there are none."""


def packed(name: str, values: npt.NDArray[_Whole]) -> dict[str, Bytes]:
    """Whole numbers [n] as zlib streams uint8 [any], one per byte plane: `name.0` the lowest; planes above the highest
    byte that occurs are left out.
    """
    planes = values.astype(values.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, values.itemsize).T
    used = max((place + 1 for place, plane in enumerate(planes) if plane.any()), default=0)
    return {f"{name}.{place}": np.frombuffer(_compressed(planes[place].tobytes()), np.uint8) for place in range(used)}


def unpacked(name: str, tensors: Mapping[str, Bytes], dtype: type[_Whole], entries: int) -> npt.NDArray[_Whole]:
    """The reverse of `packed`: [entries] of `dtype`. Raises ValueError for streams that are damaged or do not hold a
    byte of every entry, before anything is made for those.
    """
    size = np.dtype(dtype).itemsize
    held = {place: stream for place in range(size) if (stream := tensors.get(f"{name}.{place}")) is not None}
    for stream in held.values():
        if entries > stream.size * _MOST_PER_BYTE:
            raise ValueError(
                f"a stream of {counted(stream.size, 'byte')} cannot hold {counted(entries, 'entry')} of {name}"
            )
    planes = np.zeros((entries, size), np.uint8)
    for place, stream in held.items():
        planes[:, place] = np.frombuffer(_decompressed(stream.tobytes(), entries), np.uint8)
    values: npt.NDArray[_Whole] = planes.reshape(-1).view(np.dtype(dtype).newbyteorder("<")).astype(dtype, copy=False)
    return values


def squeezed(name: str, values: npt.NDArray[np.uint32], unit: int = 1) -> dict[str, Bytes]:
    """Whole numbers [n] as LZMA streams uint8 [any], one per plane of `unit` bytes, 1 or 2: `name.0` the lowest. Two
    where the bytes of an entry hang together. Planes in which nothing but zeros stands are left out.
    """
    planes = values.astype("<u4").view(f"V{unit}").reshape(-1, 4 // unit).T
    streams = {}
    for place, plane in enumerate(planes):
        raw = plane.tobytes()
        if raw.strip(b"\0"):
            filters = [{**_LEARNED, "lp": unit - 1, "pb": unit - 1}]
            streams[f"{name}.{place}"] = np.frombuffer(lzma.compress(raw, lzma.FORMAT_RAW, filters=filters), np.uint8)
    return streams


def expanded(name: str, tensors: Mapping[str, Bytes], entries: int, unit: int = 1) -> npt.NDArray[np.uint32]:
    """The reverse of `squeezed`: [entries]. Raises ValueError as `unpacked` does."""
    count = 4 // unit
    held = {place: stream for place in range(count) if (stream := tensors.get(f"{name}.{place}")) is not None}
    for stream in held.values():
        if entries * unit > stream.size * _MOST_SQUEEZED:
            raise ValueError(
                f"a stream of {counted(stream.size, 'byte')} cannot hold {counted(entries, 'entry')} of {name}"
            )
    planes = np.zeros((entries, count), f"V{unit}")
    for place, stream in held.items():
        planes[:, place] = np.frombuffer(_relaxed(stream.tobytes(), entries * unit), f"V{unit}")
    values: npt.NDArray[np.uint32] = planes.reshape(-1).view("<u4").astype(np.uint32, copy=False)
    return values


def differences(values: npt.NDArray[_Whole]) -> npt.NDArray[_Whole]:
    """Every entry less the one before, modulo its width, the sign moved to the lowest bit: what is near zero on either
    side has small bytes.
    """
    steps = np.diff(values, prepend=values.dtype.type(0)).view(f"i{values.itemsize}")
    folded: npt.NDArray[_Whole] = ((steps << 1) ^ (steps >> (8 * values.itemsize - 1))).view(values.dtype)
    return folded


def summed(folded: npt.NDArray[_Whole]) -> npt.NDArray[_Whole]:
    """The reverse of `differences`."""
    bits: Any = folded.view(f"u{folded.itemsize}")
    steps = (bits >> 1) ^ (0 - (bits & 1))
    whole: npt.NDArray[_Whole] = np.cumsum(steps, dtype=bits.dtype).view(folded.dtype)
    return whole


def from_middle(row: npt.NDArray[np.uint32]) -> tuple[np.uint32, npt.NDArray[np.uint32]]:
    """The median of a row, which is not empty, and what each entry lies from it, modulo 2^32, the sign moved to the
    lowest bit.
    """
    signed = row.view(np.int32)
    middle = np.partition(signed, signed.size // 2)[signed.size // 2]
    off = signed - middle
    return middle.view(np.uint32), ((off << 1) ^ (off >> 31)).view(np.uint32)


def restored(middle: npt.ArrayLike, far: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """The reverse of `from_middle`."""
    row: npt.NDArray[np.uint32] = ((far >> 1) ^ (np.uint32(0) - (far & 1))) + np.asarray(middle, np.uint32)
    return row


def bits_of(far: npt.NDArray[np.uint32]) -> float:
    """About how many bits such distances take."""
    return float(np.log2(1.0 + far).sum())


def _compressed(plane: bytes) -> bytes:
    """Run lengths and Huffman codes alone: of such bytes they leave as little as a search for repeats, in a third of
    its time.
    """
    stream = zlib.compressobj(level=6, memLevel=9, strategy=zlib.Z_RLE)
    return stream.compress(plane) + stream.flush()


def _decompressed(stream: bytes, size: int) -> bytes:
    reader = zlib.decompressobj()
    try:
        plane = reader.decompress(stream, size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(plane) != size or not reader.eof or reader.unused_data:
        raise ValueError(f"a stream holds {counted(len(plane), 'byte')} where {size} were expected")
    return plane


def _relaxed(stream: bytes, size: int) -> bytes:
    reader = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_LEARNED])
    try:
        plane = reader.decompress(stream, size + 1)
    except lzma.LZMAError as error:
        raise ValueError(f"decompressing: {error}") from error
    if len(plane) != size or not reader.eof or reader.unused_data:
        raise ValueError(f"a stream holds {counted(len(plane), 'byte')} where {size} were expected")
    return plane
