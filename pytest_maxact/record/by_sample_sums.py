"""Sums of samples that a Record keeps, site by site, as compressed bytes and back, without loss.

What an error has under a scheme goes with what the entries have themselves, with what it has under another scheme, or
with the same of the layer before; each row is stored as how it differs from that of these which leaves least. What is
left is squeezed (`packing`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pytest_maxact.numbers.energies import HIGHEST, SampleSums
from pytest_maxact.record.packing import Bytes, bits_of, expanded, from_middle, restored, squeezed

Layout = Sequence[tuple[str, Sequence[str]]]
"""Of sites in the order of the Record their kinds, and the names of their errors."""
_Table = npt.NDArray[np.uint32]


def packed_sums(name: str, found: Sequence[tuple[str, SampleSums]]) -> dict[str, Bytes]:
    """Of sites with their kinds, as streams below `name`."""
    layout = [(kind, sorted(one.errors)) for kind, one in found]
    rows = [row for _, one in found for row in (one.signal, *(one.errors[error] for error in sorted(one.errors)))]
    chosen, middles = np.zeros(len(rows), np.uint32), np.zeros(len(rows), np.uint32)
    left: list[_Table] = []
    for at, before in enumerate(_before(layout)):
        least = np.inf
        left.append(rows[at])
        for choice, base in enumerate((None, *before)):
            middle, far = from_middle(rows[at] if base is None else rows[at] - rows[base])
            if (bits := bits_of(far)) < least:
                least, chosen[at], middles[at], left[at] = bits, choice, middle, far
    if not rows or not rows[0].size:
        return {}
    return {
        **squeezed(f"{name}.chosen", chosen),
        **squeezed(f"{name}.middles", middles),
        **squeezed(f"{name}.steps", np.concatenate(left)),
    }


def unpacked_sums(name: str, layout: Layout, units: int, tensors: Mapping[str, Bytes]) -> list[SampleSums]:
    """The reverse. Raises ValueError for streams that are damaged, or hold no such number."""
    before = _before(layout)
    chosen = expanded(f"{name}.chosen", tensors, len(before))
    middles = expanded(f"{name}.middles", tensors, len(before))
    left = expanded(f"{name}.steps", tensors, len(before) * units).reshape(len(before), units)
    rows: list[_Table] = []
    for at, known in enumerate(before):
        if chosen[at] > len(known):
            raise ValueError(f"{name}: a row that is told by one that there is not")
        row = restored(middles[at], left[at])
        rows.append(row + rows[known[int(chosen[at]) - 1]] if chosen[at] else row)
        if rows[at].max(initial=0) > HIGHEST:
            raise ValueError(f"{name}: an energy that no number has")
    told = iter(rows)
    return [SampleSums(next(told), {error: next(told) for error in errors}) for _, errors in layout]


def _before(layout: Layout) -> list[tuple[int, ...]]:
    """Of every row those before it that may tell it."""
    found: list[tuple[int, ...]] = []
    last: dict[tuple[str, str], int] = {}
    for kind, errors in layout:
        signal = len(found)
        for error in ("", *errors):
            at = len(found)
            near = {signal, at - 1} if error else set[int]()
            above = {last[kind, error]} if (kind, error) in last else set[int]()
            found.append(tuple(sorted(near | above)))
            last[kind, error] = at
    return found
