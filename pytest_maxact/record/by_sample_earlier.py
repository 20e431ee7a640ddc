"""What a Record kept of every sample before its streams were squeezed: read, and no longer written.

A site is stored as what differs, bit by bit, from the one before of its kind; the id of a token once, however many
sites have their maximum there, places in the order of positions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.record.packing import Bytes, unpacked

_NAMES = ("maxima.values", "maxima.positions", "maxima.channels")
_TOKENS = "maxima.tokens"
_Table = npt.NDArray[np.uint32]


def is_earlier(names: Iterable[str]) -> bool:
    """Whether streams of these names hold maxima of samples in this form."""
    return any(name.startswith("maxima.") for name in names)


def unpacked_earlier(kinds: Sequence[str], samples: int, tensors: Mapping[str, Bytes]) -> list[SampleMaxima]:
    """Of sites of these kinds. Raises ValueError for streams that are damaged, or hold no such number."""
    shape = (len(kinds), samples)
    read: list[_Table] = [unpacked(name, tensors, np.uint32, shape[0] * samples).reshape(shape) for name in _NAMES]
    values, positions, channels = (_whole(table, kinds) for table in read)
    if positions.max(initial=0) >= 1 << 31 or channels.max(initial=0) >= 1 << 31:
        raise ValueError("maxima of samples: a position or channel that no sample has")
    placed, told = positions.astype(np.int32) - 1, channels.astype(np.int32)
    found = [SampleMaxima(values[place].view(np.float32), placed[place], told[place]) for place in range(len(kinds))]
    if not any(name.startswith(f"{_TOKENS}.") for name in tensors) or not found:
        return found
    first, again = _places(placed)
    ids = unpacked(_TOKENS, tensors, np.uint32, first.size)
    if ids.max(initial=0) >= 1 << 31:
        raise ValueError("maxima of samples: a token that there is not")
    spoken = (ids.astype(np.int32) - 1)[again].reshape(shape)
    return [replace(one, tokens=spoken[place]) for place, one in enumerate(found)]


def _places(positions: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Of positions [sites, samples] every place of the text once, by its first entry of the flat table, and which of
    these each entry is.
    """
    samples = positions.shape[1]
    told = (positions.astype(np.int64) + 1) * samples + np.arange(samples)
    _, first, again = np.unique(told, return_index=True, return_inverse=True)
    return first.astype(np.int64), again.reshape(-1).astype(np.int64)


def _whole(changed: _Table, kinds: Sequence[str]) -> _Table:
    """Rows [sites, samples] out of what differs from the row before of the same kind."""
    table: _Table = changed.copy()
    last: dict[str, int] = {}
    for place, kind in enumerate(kinds):
        if kind in last:
            table[place] ^= table[last[kind]]
        last[kind] = place
    return table
