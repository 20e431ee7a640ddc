"""The package gguf, reading as it does and in less time: a class in, whose headers are those of its own to the bit; and
a context in which transformers reads with it.

A vocabulary is hundreds of thousands of strings, each some ten views of a mapped file there; and transformers builds
the map of all names again for every module of a model, where one does. Guards that a release of gguf which is built
otherwise is only as slow as it is by itself.
"""

import functools
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from struct import Struct
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
_LENGTH = Struct("<Q")
"""In front of a string, how many bytes it has."""


@functools.cache
def quick_reader() -> Any:
    """`gguf.GGUFReader`, arrays of strings read without a view of the map for every part of each."""
    from gguf import GGUFReader

    if not hasattr(GGUFReader, "_get_field_parts"):
        return GGUFReader
    return type("QuickReader", (GGUFReader,), {"_get_field_parts": _field_parts})


@contextmanager
def read_quickly() -> Iterator[None]:
    """While open, what transformers reads of GGUF files is read so."""
    import gguf

    with ExitStack() as stack:
        stack.enter_context(patch.object(gguf, "GGUFReader", quick_reader()))
        stack.enter_context(patch.object(gguf, "get_tensor_name_map", name_map()))
        yield


@functools.cache
def name_map() -> Any:
    """`gguf.get_tensor_name_map`, which builds what nobody writes into, once for an architecture and a depth."""
    from gguf import get_tensor_name_map

    return functools.lru_cache(maxsize=2)(get_tensor_name_map)


def _field_parts(reader: Any, start: int, kind: int) -> Any:
    """In the place of `GGUFReader._get_field_parts`: bytes of a field, its parts, which of them are its data, and its
    types.
    """
    from gguf import GGUFValueType

    data = np.asarray(reader.data)
    head = data[start : start + 12]
    if kind != GGUFValueType.ARRAY or reader.byte_order != "I" or len(head) < 12:
        return super(quick_reader(), reader)._get_field_parts(start, kind)
    inner, count = head[:4].view(np.uint32), head[4:].view(np.uint64)
    if inner[0] == GGUFValueType.STRING:
        parts, end = _strings(data, start + 12, int(count[0]))
        own = range(3, 2 + len(parts), 2)
    elif (dtype := reader.gguf_scalar_to_np.get(GGUFValueType(inner[0]))) is not None:
        end = start + 12 + int(count[0]) * np.dtype(dtype).itemsize
        whole = _within(data, start + 12, end).view(dtype)
        parts = [whole[at : at + 1] for at in range(len(whole))]
        own = range(2, 2 + len(parts))
    else:
        return super(quick_reader(), reader)._get_field_parts(start, kind)
    types = [GGUFValueType.ARRAY, *([GGUFValueType(inner[0])] if parts else [])]
    return end - start, [inner, count, *parts], list(own), types


def _strings(data: Bytes, place: int, count: int) -> tuple[list[npt.NDArray[Any]], int]:
    """Of every string its length and its bytes; and where they end."""
    lengths, places = array("Q"), []
    raw: Any = data.data
    for _ in range(count):
        _within(data, place, place + _LENGTH.size)
        (length,) = _LENGTH.unpack_from(raw, place)
        place += _LENGTH.size
        lengths.append(length)
        places.append(place)
        place += length
    _within(data, 0, place)
    long = np.frombuffer(lengths, np.uint64) if count else np.empty(0, np.uint64)
    told: list[npt.NDArray[Any]] = []
    for at, here in enumerate(places):
        told += (long[at : at + 1], data[here : here + lengths[at]])
    return told, place


def _within(data: Bytes, start: int, end: int) -> Bytes:
    if end > len(data):
        raise IndexError(f"an array of the header goes up to byte {end}, and the file ends at {len(data)}")
    return data[start:end]
