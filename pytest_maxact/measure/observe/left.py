"""The batches of a pass that are still to run, and who follows the pass while they do.

A batch that does not fit into memory is halved, and its halves run one after the other. What is left can be told as
plain data and taken up again by a process that planned the same batches.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pytest_maxact.corpus.batches import BatchPlan, PlannedBatch
from pytest_maxact.errors import MeasureError, setting


class Left:
    """Batches in the order in which they run. `take` the next; `halve` it where it has to run in parts."""

    def __init__(self, plan: BatchPlan) -> None:
        self._plan = plan
        self._known_by = _digest(plan)
        self._next = 0
        self._pieces: list[tuple[int, int, int]] = []
        """Parts of batches that were halved, as the batch and its sequences from one to another; the next one last."""
        self._taken = (0, 0, 0)
        self.refused = math.inf
        """Token slots of the smallest batch that did not fit."""

    def take(self) -> PlannedBatch | None:
        """The next batch; None where all ran."""
        if self._pieces:
            self._taken = self._pieces.pop()
        elif self._next < len(self._plan):
            self._taken = (self._next, 0, len(self._plan[self._next].sequences))
            self._next += 1
        else:
            return None
        return self._piece(self._taken)

    def halve(self) -> None:
        """Let the halves of the batch that was taken run next."""
        batch, start, stop = self._taken
        middle = start + (stop - start) // 2
        self._pieces += [(batch, middle, stop), (batch, start, middle)]

    def end(self) -> None:
        """Leave out all that is left."""
        self._pieces, self._next = [], len(self._plan)

    @property
    def waiting(self) -> BatchPlan:
        """All that is left."""
        return [*map(self._piece, reversed(self._pieces)), *self._plan[self._next :]]

    def refuse(self, planned: PlannedBatch) -> None:
        """The batch that was taken does not fit into memory. Raises MeasureError for one of a single sequence."""
        if len(planned.sequences) == 1:
            raise MeasureError(
                f"out of memory on sample {planned.sequences[0].sample.id} alone, {planned.tokens} tokens long\n"
                f"  lower {setting('max_seq_len')}, or use a device with more memory"
            )
        self.refused = min(self.refused, planned.slots)
        self.halve()

    @property
    def following(self) -> PlannedBatch | None:
        """What `take` gives next."""
        if self._pieces:
            return self._piece(self._pieces[-1])
        return self._plan[self._next] if self._next < len(self._plan) else None

    @property
    def is_empty(self) -> bool:
        return not self._pieces and self._next == len(self._plan)

    @property
    def tokens(self) -> int:
        pieces = sum(self._piece(piece).tokens for piece in self._pieces)
        return pieces + sum(batch.tokens for batch in self._plan[self._next :])

    def state(self) -> dict[str, Any]:
        """What is left, as plain data."""
        pieces = [list(piece) for piece in self._pieces]
        refused = None if self.refused == math.inf else self.refused
        return {"plan": self._known_by, "next": self._next, "pieces": pieces, "refused": refused}

    def restore(self, state: Mapping[str, Any]) -> bool:
        """Go on from there; False, and nothing happens, where that was said of another plan."""
        if state["plan"] != self._known_by:
            return False
        self.refused = math.inf if state["refused"] is None else state["refused"]
        self._next, self._pieces = state["next"], [(batch, start, stop) for batch, start, stop in state["pieces"]]
        return True

    def _piece(self, piece: tuple[int, int, int]) -> PlannedBatch:
        batch, start, stop = piece
        whole = self._plan[batch]
        if (start, stop) == (0, len(whole.sequences)):
            return whole
        return PlannedBatch(split=whole.split, sequences=whole.sequences[start:stop])


def _digest(plan: BatchPlan) -> str:
    """Of the split and the samples of every batch, in their order."""
    named = [[batch.split, [sequence.sample.id for sequence in batch.sequences]] for batch in plan]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


class Follower(Protocol):
    """Who follows a pass."""

    def begun(self, left: Left) -> None:
        """Nothing ran yet: what an earlier process saw may be restored, and taken off what is left."""

    def ran(self, left: Left, check: Callable[[], None], seconds: float) -> None:
        """A batch ran and counts. `check` raises MeasureError where the model remembers what ran, and takes about so
        many seconds.
        """
