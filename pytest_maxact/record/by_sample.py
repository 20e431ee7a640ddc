"""What a Record keeps of every sample, site by site, as compressed bytes and back, without loss.

What a sample does at one site it mostly does at the next of the same kind too: the same token and channel carry its
maximum, and often the same value. So a site is stored as what differs, bit by bit, from the one before of its kind; and
the id of a token once, however many sites have their maximum there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.record.packing import Bytes, packed, unpacked

_NAMES = ("maxima.values", "maxima.positions", "maxima.channels")
_TOKENS = "maxima.tokens"
_Table = npt.NDArray[np.uint32]


def packed_maxima(found: Sequence[tuple[str, SampleMaxima]]) -> dict[str, Bytes]:
    """Of sites with their kinds, in the order of the Record."""
    if not found:
        return {}
    kinds = [kind for kind, _ in found]
    tables = (
        np.stack([one.values.view(np.uint32) for _, one in found]),
        np.stack([(one.positions + 1).astype(np.uint32) for _, one in found]),
        np.stack([one.channels.astype(np.uint32) for _, one in found]),
    )
    streams: dict[str, Bytes] = {}
    for name, table in zip(_NAMES, tables, strict=True):
        streams |= packed(name, _changes(table, kinds).reshape(-1))
    tokens = [one.tokens for _, one in found if one.tokens is not None]
    if len(tokens) == len(found):
        first, _ = _places(np.stack([one.positions for _, one in found]))
        streams |= packed(_TOKENS, (np.stack(tokens).reshape(-1)[first] + 1).astype(np.uint32))
    return streams


def unpacked_maxima(kinds: Sequence[str], samples: int, tensors: Mapping[str, Bytes]) -> list[SampleMaxima]:
    """The reverse. Raises ValueError for streams that are damaged, or hold no such number."""
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


def _changes(table: _Table, kinds: Sequence[str]) -> _Table:
    """Rows [sites, samples] as what differs from the row before of the same kind."""
    changed: _Table = table.copy()
    for place, before in _before(kinds):
        changed[place] ^= table[before]
    return changed


def _whole(changed: _Table, kinds: Sequence[str]) -> _Table:
    """The reverse."""
    table: _Table = changed.copy()
    for place, before in _before(kinds):
        table[place] ^= table[before]
    return table


def _before(kinds: Sequence[str]) -> list[tuple[int, int]]:
    last: dict[str, int] = {}
    pairs = []
    for place, kind in enumerate(kinds):
        if kind in last:
            pairs.append((place, last[kind]))
        last[kind] = place
    return pairs
