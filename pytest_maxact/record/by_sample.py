"""What a Record keeps of every sample, site by site, as compressed bytes and back, without loss.

The magnitudes of one site lie close together, so each is stored as its distance from their median, in steps of the
site's own dtype; or, where that is less, as how it differs from the same sample's at the site before of its kind. Few
channels have the maxima of a site: each is stored by its rank among them, with its sign. The id of a token is stored
once, however many sites have their maximum there. What is left is nearly without a pattern, and squeezed (`packing`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.record.by_sample_earlier import is_earlier, unpacked_earlier
from pytest_maxact.record.packing import Bytes, bits_of, expanded, from_middle, restored, squeezed

_MAGNITUDE = np.uint32((1 << 31) - 1)
_WIDEST = 32
_Table = npt.NDArray[np.uint32]


def packed_maxima(found: Sequence[tuple[str, SampleMaxima]]) -> dict[str, Bytes]:
    """Of sites with their kinds, in the order of the Record."""
    if not found or not len(found[0][1]):
        return {}
    bits = np.stack([one.values.view(np.uint32) for _, one in found])
    positions = np.stack([one.positions for _, one in found])
    channels = np.stack([one.channels for _, one in found]).astype(np.uint32)
    carriers: _Table = ((channels << 1) | (bits >> 31)).astype(np.uint32)
    streams = _packed_magnitudes(bits & _MAGNITUDE, [kind for kind, _ in found])
    streams |= squeezed("samples.positions", (positions + 1).astype(np.uint32).reshape(-1))
    streams |= _packed_carriers(carriers)
    tokens = [one.tokens for _, one in found if one.tokens is not None]
    if len(tokens) == len(found):
        first, _ = _places(positions)
        ids = np.stack(tokens).reshape(-1)[first]
        streams |= squeezed("samples.tokens", (ids + 1).astype(np.uint32), unit=2)
        streams["samples.told"] = np.ones(1, np.uint8)
    return streams


def unpacked_maxima(kinds: Sequence[str], samples: int, tensors: Mapping[str, Bytes]) -> list[SampleMaxima]:
    """The reverse, of any version. Raises ValueError for streams that are damaged, or hold no such number."""
    if is_earlier(tensors):
        return unpacked_earlier(kinds, samples, tensors)
    shape = (len(kinds), samples)
    placed = expanded("samples.positions", tensors, len(kinds) * samples).reshape(shape)
    carriers = _unpacked_carriers(shape, tensors)
    values = _unpacked_magnitudes(kinds, samples, tensors) | (carriers << 31)
    if placed.max(initial=0) >= 1 << 31:
        raise ValueError("maxima of samples: a position that no sample has")
    positions, channels = placed.astype(np.int32) - 1, (carriers >> 1).astype(np.int32)
    found = [SampleMaxima(values[at].view(np.float32), positions[at], channels[at]) for at in range(len(kinds))]
    if "samples.told" not in tensors or not found:
        return found
    first, again = _places(positions)
    ids = expanded("samples.tokens", tensors, first.size, unit=2)
    if ids.max(initial=0) >= 1 << 31:
        raise ValueError("maxima of samples: a token that there is not")
    spoken = (ids.astype(np.int32) - 1)[again].reshape(shape)
    return [replace(one, tokens=spoken[at]) for at, one in enumerate(found)]


def _packed_magnitudes(magnitudes: _Table, kinds: Sequence[str]) -> dict[str, Bytes]:
    """Bit patterns [sites, samples] below the sign, whose order is that of the magnitudes."""
    coarse = np.array([_even_bits(row) for row in magnitudes], np.uint32)
    steps = magnitudes >> coarse[:, None]
    last: dict[str, int] = {}
    middles, carried = np.zeros(len(kinds), np.uint32), np.zeros(len(kinds), np.uint32)
    far = np.zeros_like(steps)
    for at, kind in enumerate(kinds):
        middles[at], far[at] = from_middle(steps[at])
        if kind in last:
            middle, changed = from_middle(steps[at] - steps[last[kind]])
            if bits_of(changed) < bits_of(far[at]):
                middles[at], far[at], carried[at] = middle, changed, 1
        last[kind] = at
    return {
        **squeezed("samples.coarse", coarse),
        **squeezed("samples.carried", carried),
        **squeezed("samples.middles", middles),
        **squeezed("samples.steps", far.reshape(-1)),
    }


def _unpacked_magnitudes(kinds: Sequence[str], samples: int, tensors: Mapping[str, Bytes]) -> _Table:
    coarse = expanded("samples.coarse", tensors, len(kinds))
    carried = expanded("samples.carried", tensors, len(kinds))
    middles = expanded("samples.middles", tensors, len(kinds))
    far = expanded("samples.steps", tensors, len(kinds) * samples).reshape(len(kinds), samples)
    if coarse.max(initial=0) >= _WIDEST:
        raise ValueError("maxima of samples: more even bits than a number has")
    steps = restored(middles[:, None], far)
    last: dict[str, int] = {}
    for at, kind in enumerate(kinds):
        if carried[at]:
            if kind not in last:
                raise ValueError("maxima of samples: the first site of its kind is told by the one before")
            steps[at] += steps[last[kind]]
        last[kind] = at
    magnitudes: _Table = steps << coarse[:, None]
    if magnitudes.max(initial=0) > _MAGNITUDE:
        raise ValueError("maxima of samples: a magnitude with a sign")
    return magnitudes


def _even_bits(row: _Table) -> int:
    """How many of the lowest bits no entry has: 16 of bfloat16."""
    used = int(np.bitwise_or.reduce(row))
    return (used & -used).bit_length() - 1 if used else 0


def _packed_carriers(carriers: _Table) -> dict[str, Bytes]:
    """Channels with their signs [sites, samples]: of every site those that occur, most often first, and the rank of
    each entry's own.
    """
    ranks = np.empty_like(carriers)
    words: list[_Table] = []
    for at, row in enumerate(carriers):
        own, which, often = np.unique(row, return_inverse=True, return_counts=True)
        order = np.argsort(-often, kind="stable")
        rank = np.empty(own.size, np.uint32)
        rank[order] = np.arange(own.size)
        ranks[at] = rank[which.reshape(-1)]
        words.append(own[order])
    return {
        **squeezed("samples.carriers", np.array([own.size for own in words], np.uint32)),
        **squeezed("samples.channels", np.concatenate(words)),
        **squeezed("samples.ranks", ranks.reshape(-1)),
    }


def _unpacked_carriers(shape: tuple[int, int], tensors: Mapping[str, Bytes]) -> _Table:
    sizes = expanded("samples.carriers", tensors, shape[0]).astype(np.int64)
    if (sizes > shape[1]).any():
        raise ValueError("maxima of samples: more channels than samples")
    words = expanded("samples.channels", tensors, int(sizes.sum()))
    ranks = expanded("samples.ranks", tensors, shape[0] * shape[1]).reshape(shape)
    if shape[1] and (ranks >= sizes[:, None]).any():
        raise ValueError("maxima of samples: a channel that is none of the site's")
    starts = np.cumsum(sizes) - sizes
    return words[ranks + starts[:, None]] if words.size else np.zeros(shape, np.uint32)


def _places(positions: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Of positions [sites, samples] every place of the text once, in the order of the text, by its first entry of the
    flat table, and which of these each entry is.
    """
    told = (np.arange(positions.shape[1], dtype=np.int64) << 32) + positions
    _, first, again = np.unique(told, return_index=True, return_inverse=True)
    return first.astype(np.int64), again.reshape(-1).astype(np.int64)
