"""What gathers something of a pass beside the accumulators of sites: each by its name, all with the same few verbs.

A gatherer stages what it sees of a batch; `commit` keeps it, `rollback` forgets it, so that a batch that ran out of
memory half-way leaves no trace; `state` and `restore` are as of every accumulator. A new one is a line of `Observer`.
"""

from collections.abc import Iterator
from typing import Protocol

from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.reduction import Held


class Gatherer(Held, Protocol):
    """What stages a batch. A streamed pass commits a batch in several turns, each with what it saw of it."""

    def commit(self, batch: Batch) -> None:
        """Keep what the batch staged."""

    def rollback(self) -> None:
        """Forget what was staged."""


class Gatherers:
    """Those of one pass; None stands for one that is not asked for."""

    def __init__(self, **named: Gatherer | None) -> None:
        self._named = {name: one for name, one in named.items() if one is not None}

    def __iter__(self) -> Iterator[tuple[str, Gatherer]]:
        return iter(self._named.items())

    def commit(self, batch: Batch) -> None:
        """Have each keep what it staged."""
        for one in self._named.values():
            one.commit(batch)

    def rollback(self) -> None:
        """Have each forget what it staged."""
        for one in self._named.values():
            one.rollback()
