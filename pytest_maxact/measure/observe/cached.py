"""What a KV cache keeps, as it is met: the largest magnitude of every channel in the evaluation split, and how far keys
lie from their mean. Rows of a batch in, both out, by site and part.

A constant that all keys of a sequence share moves all scores of a query alike, and the softmax takes it away again; the
range of the cache it takes all the same. So the distance of keys is from the mean of their own sequence. Padding never
counts. On a device nothing is read back before the pass is read out.
"""

from collections.abc import Iterator

import torch

from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.reduction import Entry, How, State, within

_Key = tuple[str, str]


class Cached:
    """By site and part: `channels` [width] in the tensor's dtype; `energies`: entries, and energy about the mean."""

    def __init__(self) -> None:
        self.channels: dict[_Key, torch.Tensor] = {}
        self.energies: dict[_Key, torch.Tensor] = {}
        self._staged: list[tuple[_Key, torch.Tensor, torch.Tensor | None]] = []

    def stage(self, key: _Key, largest: torch.Tensor, energy: torch.Tensor | None) -> None:
        """Note of a batch of that split the largest magnitude of every channel, [width]; `energy`: entries, and
        theirs about the mean, float64 [2].
        """
        self._staged.append((key, largest, energy))

    def commit(self) -> None:
        """Keep what the batch staged."""
        for key, channels, energy in self._staged:
            known = self.channels.get(key)
            self.channels[key] = channels if known is None else torch.maximum(known.to(channels.device), channels)
            if energy is not None:
                before = self.energies.get(key)
                self.energies[key] = energy if before is None else before.to(energy.device) + energy
        self.rollback()

    def rollback(self) -> None:
        """Forget what was staged."""
        self._staged = []

    def state(self) -> State:
        """All that was committed so far."""
        return {
            **{f"reached/{'/'.join(key)}": Entry(found, How.MAX) for key, found in self.channels.items()},
            **{f"energy/{'/'.join(key)}": Entry(found, How.SUM) for key, found in self.energies.items()},
        }

    def restore(self, state: State) -> None:
        """Hold this, instead of whatever is held."""
        self.rollback()
        for name, held in (("reached", self.channels), ("energy", self.energies)):
            held.clear()
            for key, entry in within(name, state).items():
                site, _, part = key.partition("/")
                held[site, part] = entry.value.clone()


def largest_of(values: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The largest magnitude of every channel of rows [B x T, width], [width]; NaN where an entry is."""
    found = None
    for rows in _sequences(values, batch):
        low, high = rows.aminmax(dim=0)
        largest = torch.maximum(-low, high)
        found = largest if found is None else torch.maximum(found, largest)
    assert found is not None
    return found


def spread_of(values: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Of rows [B x T, width] the sum of the squares of their distances from the mean of their channel in their own
    sequence, float64 [width].
    """
    energy = torch.zeros(values.shape[1], dtype=torch.float64, device=values.device)
    for sequence in _own(values, batch):
        rows = sequence.float()
        energy += (rows - rows.mean(0)).square().sum(0).double()
    return energy


def _sequences(values: torch.Tensor, batch: Batch) -> Iterator[torch.Tensor]:
    """Rows of real tokens, all at once where nothing is padded."""
    return _own(values, batch) if batch.padded else iter([values])


def _own(values: torch.Tensor, batch: Batch) -> Iterator[torch.Tensor]:
    """The rows of every sequence."""
    width = batch.ids.shape[1]
    for row, (sequence, start) in enumerate(zip(batch.plan.sequences, batch.starts, strict=True)):
        first = row * width + start
        yield values[first : first + len(sequence)]
