"""Of every sample the largest finite entry at every site: rows of a call and the largest key of each in, per sequence
its value, place and channel out.

Exact, and the same however samples are batched: of equal magnitudes the earliest position is named, there the lowest
channel. Where routing hides which token a row is of, nothing is told of that site (NaN). No shape depends on the data
and nothing waits for a device: what a call gives travels with its findings (`accumulate.commit_all`). A sample is in
one batch alone, so parts of a pass add up by taking the larger of each number, of which one was never seen.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from pytest_maxact.measure.observe.bits import encode
from pytest_maxact.measure.observe.reduction import Entry, How, State
from pytest_maxact.measure.observe.rowwork import NOWHERE, Locate, in_place

if TYPE_CHECKING:
    from pytest_maxact.measure.observe.batch import Batch

_FIELDS = 4
"""Numbers of a sequence that a call gives: key of its largest entry (negative for none), flat row of the batch, channel
and signed value.
"""


def largest_of_sequences(
    values: torch.Tensor, row_max: torch.Tensor, locate: Locate, shape: tuple[int, int]
) -> torch.Tensor:
    """What is kept of a call, int64 [4 B + 1]: `_FIELDS` of every sequence, and whether the token of any row is hidden.

    `values` [rows, width], `row_max` int64 [rows] the key of the largest finite entry of each row, negative for none;
    `shape` [B, T] of the batch, of which `locate` gives every row's place.
    """
    sequences, length = shape
    rows, width = values.shape
    if not rows:
        nothing = torch.zeros(_FIELDS * sequences + 1, dtype=torch.int64, device=values.device)
        nothing[:sequences] = -1
        return nothing
    places = torch.arange(rows, device=values.device)
    in_order = locate is in_place and rows == sequences * length
    if in_order and values.device.type == "cpu":
        first = torch.from_numpy(row_max.numpy().reshape(shape).argmax(1)) + torch.arange(sequences) * length
        keys, tokens, hidden = row_max[first], first, torch.zeros(1, dtype=torch.int64)
    else:
        where = locate(places)
        hidden = (where < 0).any().long().reshape(1)
        sequence = where.clamp(min=0) // length
        order = (row_max << 32) | (NOWHERE - where.clamp(min=0))
        best = torch.full((sequences,), -1, dtype=torch.int64, device=values.device)
        best = best.scatter_reduce(0, sequence, order, "amax")
        mine = torch.where(order == best[sequence], places, NOWHERE)
        first = torch.full_like(best, NOWHERE).scatter_reduce(0, sequence, mine, "amin").clamp(max=rows - 1)
        keys, tokens = best >> 32, NOWHERE - (best & NOWHERE)
    taken = encode(values[first])
    key = taken.key.long().masked_fill(taken.key >= taken.infinity, -1)
    columns = torch.arange(width, device=values.device)
    channel = NOWHERE - (((key << 32) | (NOWHERE - columns)).amax(1) & NOWHERE)
    signed = taken.values.gather(1, channel[:, None]).squeeze(1).double().view(torch.int64)
    return torch.cat([keys, tokens, channel, signed, hidden])


class Maxima:
    """The largest entry of every sample at every site, float32 [sites, 3] by sample, sites in the order of their names:
    value, position and channel, exact in it; -inf where nothing was seen, NaN where it cannot be told.
    """

    def __init__(self, sites: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(sorted(sites))}
        self._found: dict[str, npt.NDArray[np.float32]] = {}

    @property
    def samples(self) -> list[str]:
        """Those of which something was seen, in the order of their ids."""
        return sorted(self._found)

    def of(self, site: str) -> npt.NDArray[np.float32]:
        """Of a site, [samples, 3] in the order of their ids; [0, 3] of one that is none of these."""
        place = self._places.get(site)
        if place is None:
            return np.zeros((0, 3), np.float32)
        return np.array([self._found[name][place] for name in self.samples], np.float32).reshape(-1, 3)

    def keep(self, site: str, batch: "Batch", given: Sequence[torch.Tensor]) -> None:
        """Keep what the calls of a batch gave at a site, on the host."""
        if not given:
            return
        length = batch.ids.shape[1]
        hidden = any(int(call[-1]) for call in given)
        calls = [call[:-1].numpy().reshape(_FIELDS, -1) for call in given]
        for place, (sequence, start) in enumerate(zip(batch.plan.sequences, batch.starts, strict=True)):
            found = [
                (-abs(value), int(call[1, place]) - place * length - start, int(call[2, place]), value)
                for call in calls
                if call[0, place] >= 0
                for value in [float(call[3, place : place + 1].view(np.float64)[0])]
            ]
            _, position, channel, value = min(found, default=(0.0, -1, 0, 0.0))
            row = self._of_sample(sequence.sample.id)
            row[self._places[site]] = np.nan if hidden else (value, position, channel)

    def _of_sample(self, name: str) -> npt.NDArray[np.float32]:
        if name not in self._found:
            self._found[name] = np.full((len(self._places), 3), -np.inf, np.float32)
        return self._found[name]

    def state(self) -> State:
        """All that was kept, by sample."""
        return {name: Entry(torch.from_numpy(found), How.MAX) for name, found in self._found.items()}

    def restore(self, state: State) -> None:
        """Hold this, instead of whatever is held."""
        self._found = {name: entry.value.cpu().numpy().copy() for name, entry in state.items()}
