"""Energies of every sample at every site under every scheme: per row what it has and what its error has in, sums of
samples out, on the device of the rows until they are read.

A sample is in one batch alone, so parts of a pass add up by taking the larger of each number, of which one was never
seen. Nothing is told of a site where routing hides which token a row is of, or an entry is not finite (NaN). Nothing
waits for a device.
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
_Key = tuple[str, str]
Floats = npt.NDArray[np.float64]


class BySample:
    """Float64 [sites x (1 + schemes)] by sample of the evaluation split; -inf where nothing was seen. Of no site where
    no scheme is asked for.
    """

    def __init__(self, sites: Sequence[str] = (), schemes: Sequence[str] = ()) -> None:
        keys = [(site, name) for site in sorted(sites) for name in (SIGNAL, *sorted(schemes))] if schemes else []
        self._places = {key: place for place, key in enumerate(keys)}
        self._found: dict[str, Floats] = {}
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
        for name in names:
            self._of_sample(name)
        for device in dict.fromkeys(found.device for found in self._staged.values()):
            there = {key: found for key, found in self._staged.items() if found.device == device}
            self._given.append((list(there), names, torch.stack(list(there.values()))))
        return self.rollback()

    def rollback(self) -> None:
        """Forget what was staged."""
        self._staged = {}

    def of(self, site: str, names: Sequence[str]) -> dict[str, Floats] | None:
        """Of a site the energies of every sample, [samples] in the order of their ids, of rows and of their errors
        under these schemes; None where that is not told.
        """
        self._settle()
        if not self._found or any((site, name) not in self._places for name in names):
            return None
        places = [self._places[site, name] for name in (SIGNAL, *names)]
        table = np.array([self._found[name][places] for name in sorted(self._found)])
        table[table == -np.inf] = 0.0
        return dict(zip((SIGNAL, *names), table.T, strict=True)) if np.isfinite(table).all() else None

    def put(self, keys: Sequence[_Key], names: Sequence[str], numbers: Floats) -> None:
        """Add to what is kept of samples, numbers [keys, samples]."""
        places = [self._places[key] for key in keys]
        for name, own in zip(names, numbers.T, strict=True):
            row = self._of_sample(name)
            row[places] = np.where(row[places] == -np.inf, 0.0, row[places]) + own

    def state(self) -> State:
        """All that was kept, by sample."""
        self._settle()
        return {name: Entry(torch.from_numpy(found), How.MAX) for name, found in self._found.items()}

    def restore(self, state: State) -> None:
        """Hold this, instead of whatever is held."""
        self.rollback()
        self._given = []
        self._found = {name: entry.value.cpu().numpy().copy() for name, entry in state.items()}

    def _settle(self) -> None:
        """Have all of it on the host."""
        for keys, names, numbers in self._given:
            self.put(keys, names, numbers.cpu().numpy())
        self._given = []

    def _of_sample(self, name: str) -> Floats:
        if name not in self._found:
            self._found[name] = np.full(len(self._places), -np.inf)
        return self._found[name]
