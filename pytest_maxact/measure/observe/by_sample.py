"""Energies of every sample at every site under every scheme: per row what it has and what its error has in, sums of
samples out, on the device of the rows until they are read.

A sample is in one batch alone, so parts of a pass add up by taking the larger of each number, of which one was never
seen. Nothing is told of a site where routing hides which token a row is of, or an entry is not finite (NaN). A device
is waited for once in many batches, so that what it keeps does not grow with the corpus.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from pytest_maxact.measure.observe.reduction import Entry, How, State

if TYPE_CHECKING:
    from pytest_maxact.measure.observe.batch import Batch

SIGNAL = ""
"""The name of what rows have themselves, beside those of schemes."""
_BATCHES = 32
"""Whose numbers stay on their devices at most."""
_Key = tuple[str, str]
Floats = npt.NDArray[np.float64]


class BySample:
    """Float64 [sites x (1 + schemes)] by sample of the evaluation split, 0 where nothing was seen. Of no site where no
    scheme is asked for.
    """

    def __init__(self, sites: Sequence[str] = (), schemes: Sequence[str] = ()) -> None:
        keys = [(site, name) for site in sorted(sites) for name in (SIGNAL, *sorted(schemes))] if schemes else []
        self._places = {key: place for place, key in enumerate(keys)}
        self._rows: dict[str, int] = {}
        """Of samples, where they stand in the table."""
        self._table: Floats = np.zeros((0, len(keys)))
        """Some more rows than there are samples."""
        self._sorted: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._given: list[tuple[list[_Key], list[str], torch.Tensor]] = []
        """Of batches, what lies on their devices still: keys, samples and numbers [keys, samples]."""
        self._staged: dict[_Key, torch.Tensor] = {}

    def stage(self, site: str, name: str, energies: torch.Tensor, sequences: torch.Tensor, count: int) -> None:
        """Energies of rows, float64 [n], of `sequences`, int64 [n], out of `count`; negative for what is hidden."""
        key = site, name
        if key not in self._places:
            return
        found = torch.zeros(count, dtype=torch.float64, device=energies.device)
        found.index_add_(0, sequences.clamp(min=0), energies.where(sequences >= 0, torch.nan))
        known = self._staged.get(key)
        self._staged[key] = found if known is None else known + found

    def commit(self, batch: "Batch") -> None:
        """Keep what the batch staged."""
        if not self._places or batch.plan.split != "evaluation":
            return self.rollback()
        names = [sequence.sample.id for sequence in batch.plan.sequences]
        self._places_of(names)
        for device in dict.fromkeys(found.device for found in self._staged.values()):
            there = {key: found for key, found in self._staged.items() if found.device == device}
            self._given.append((list(there), names, torch.stack(list(there.values()))))
        if len(self._given) >= _BATCHES:
            self._settle()
        return self.rollback()

    def rollback(self) -> None:
        """Forget what was staged."""
        self._staged = {}

    def of(self, site: str, names: Sequence[str]) -> dict[str, Floats] | None:
        """Of a site the energies of every sample, [samples] in the order of their ids, of rows and of their errors
        under these schemes; None where that is not told.
        """
        self._settle()
        if not self._rows or any((site, name) not in self._places for name in names):
            return None
        if len(self._sorted) != len(self._rows):
            self._sorted = np.array([self._rows[name] for name in sorted(self._rows)])
        places = np.array([self._places[site, name] for name in (SIGNAL, *names)])
        table = self._table[np.ix_(self._sorted, places)]
        return dict(zip((SIGNAL, *names), table.T, strict=True)) if np.isfinite(table).all() else None

    def put(self, keys: Sequence[_Key], names: Sequence[str], numbers: Floats) -> None:
        """Add to what is kept of samples, each named once, numbers [keys, samples]."""
        rows = self._places_of(names)
        self._table[np.ix_(rows, [self._places[key] for key in keys])] += numbers.T

    def state(self) -> State:
        """All that was kept, by sample."""
        self._settle()
        return {name: Entry(torch.from_numpy(self._table[row].copy()), How.MAX) for name, row in self._rows.items()}

    def restore(self, state: State) -> None:
        """Hold this, instead of whatever is held."""
        self.rollback()
        self._given, self._rows = [], {}
        self._table, self._sorted = np.zeros((0, len(self._places))), self._sorted[:0]
        rows = self._places_of(list(state))
        for row, entry in zip(rows, state.values(), strict=True):
            self._table[row] = entry.value.cpu().numpy()

    def _settle(self) -> None:
        """Have all of it on the host."""
        for keys, names, numbers in self._given:
            self.put(keys, names, numbers.cpu().numpy())
        self._given = []

    def _places_of(self, names: Sequence[str]) -> list[int]:
        """Rows of samples; of new ones there is nothing in theirs."""
        rows = [self._rows.setdefault(name, len(self._rows)) for name in names]
        if len(self._rows) > len(self._table):
            self._table.resize((len(self._rows) * 5 // 4, len(self._places)), refcheck=False)
        return rows
