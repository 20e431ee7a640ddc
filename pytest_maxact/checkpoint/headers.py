"""What a safetensors file says it holds: a path in, names, dtypes, shapes and places out. No tensor is read.

Guards that a file which is cut off or damaged is refused before any of it is loaded.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from pytest_maxact.errors import first_line
from pytest_maxact.numbers.counted import counted

FLOATS = ("BF16", "F16", "F32", "F64")
"""Dtypes of weights that are not quantized."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A tensor of a file; `dtype` as safetensors writes it, as in `BF16`; its bytes in the file are `start` to
    `stop`.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def headers_of(file: Path) -> list[Header]:
    """Every tensor of a file. Raises ValueError with the reason unless the file is whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            keys = set(opened.keys())
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            entries = json.loads(stream.read(length))
    except (SafetensorError, OSError, struct.error) as error:
        raise ValueError(_reason(file, error)) from error
    return [
        Header(
            key=key,
            dtype=entry["dtype"],
            shape=tuple(entry["shape"]),
            start=8 + length + entry["data_offsets"][0],
            stop=8 + length + entry["data_offsets"][1],
        )
        for key, entry in entries.items()
        if key in keys
    ]


def _reason(file: Path, error: Exception) -> str:
    """What is wrong with a file, with its length, by which one that was cut off is known."""
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
    except (OSError, struct.error):
        return first_line(error)
    return (
        "its header is longer than the file"
        if length > size
        else f"it has {counted(size, 'byte')}; {first_line(error)}"
    )
