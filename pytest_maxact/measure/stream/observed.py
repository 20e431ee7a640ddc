"""The pass of an observer as pieces of work that take turns: an observer and its batches in, its figures when all have
ended.

A site is seen in one turn of a batch, and kept then, so that memory does not grow with the number of batches; sums are
those of the ordinary pass, to the bit. What the ordinary pass tries out before the first batch is tried beside them.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from pytest_maxact.corpus.batches import BatchPlan, PlannedBatch
from pytest_maxact.errors import MaxactError, MeasureError, first_line, setting
from pytest_maxact.measure.observe.accumulate import commit_all
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.coverage import check_coverage
from pytest_maxact.measure.observe.fresh import Fresh
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.probe import Memory, must_be_alone
from pytest_maxact.measure.observe.room import is_out_of_memory
from pytest_maxact.measure.stream.noted import taken, told
from pytest_maxact.measure.stream.refused import refuse_threads
from pytest_maxact.measure.stream.turns import Walk

Piece = tuple[tuple[tuple[int, ...], ...], int]
Begin = Callable[[Callable[[], Any], Any, bool], Walk[Any]]
"""Work, what is put aside around it, and whether an error of it is a result -> the piece of work."""


class StateAside:
    """What modules note of a pass, kept apart for every piece of work."""

    def __init__(self, fresh: Fresh) -> None:
        self._fresh = fresh
        self._noted: tuple[Any, ...] = ()

    def enter(self) -> None:
        self._fresh.take_up(self._noted)

    def leave(self, ended: bool) -> None:
        self._noted = self._fresh.lay_down()

    @property
    def noted_by(self) -> list[nn.Module]:
        """Modules that noted something."""
        return [state.module for state in self._noted]


class _HooksAside(StateAside):
    """Beside that, what an observer's hooks note of a batch."""

    def __init__(self, fresh: Fresh, observer: Observer) -> None:
        super().__init__(fresh)
        self._observer = observer
        self._laid: Any = None

    def enter(self) -> None:
        super().enter()
        if self._laid is not None:
            self._observer.hooks.take_up(self._laid)

    def leave(self, ended: bool) -> None:
        self._laid = self._observer.hooks.lay_down()
        super().leave(ended)


class BatchAside(_HooksAside):
    """Of a batch that counts: what its turn saw is kept at once, the rest in the end, if all of it was seen."""

    def __init__(
        self, fresh: Fresh, observer: Observer, planned: PlannedBatch, before: Callable[[], None],
        stepped: Callable[[int], None],
    ) -> None:  # fmt: skip
        super().__init__(fresh, observer)
        self._planned, self._before, self._stepped = planned, before, stepped
        self._rows: dict[str, dict[str, int]] = {}
        self._last = {tap.site.name for tap in observer.anatomy.taps if tap.last}
        """Sites of which the last call in a batch counts alone."""
        self._staged: dict[str, Any] = {}
        self._left: Mapping[str, Any] | None = None
        """What another process noted of it; None once that is taken up."""
        self._suspended: Batch | None = None

    @property
    def noted(self) -> dict[str, Any]:
        """What hooks noted, as plain data, while the batch waits."""
        return told(self._laid, self._observer.anatomy)

    @property
    def rows(self) -> dict[str, dict[str, int]]:
        """Real rows that were seen so far, by site and part."""
        return self._rows

    def go_on(self, noted: Mapping[str, Any], rows: Mapping[str, Mapping[str, int]]) -> None:
        """Before it begins: it was left by another process, and what it sees until it is there again counts not."""
        self._left, self._rows = noted, {name: dict(seen) for name, seen in rows.items()}

    def suspend(self) -> None:
        if self._observer.intake.batch is not None:
            self._suspended, self._observer.intake.batch = self._observer.intake.batch, None

    def resume(self) -> None:
        self._observer.intake.batch = self._suspended

    def enter(self) -> None:
        self._before()
        super().enter()
        for name, staged in self._staged.items():
            self._observer.accumulators[name].take_up(staged)

    def leave(self, ended: bool) -> None:
        observer = self._observer
        batch = observer.intake.batch
        assert batch is not None
        if self._left is not None:
            return self._forget(batch, self._left)
        observer.intake.settle()
        seen = []
        for name, accumulator in observer.accumulators.items():
            if name in self._last and not ended:
                self._staged[name] = accumulator.rollback()
            elif rows := accumulator.staged_rows:
                if name in self._rows:
                    raise MeasureError(
                        f"site {name} is read in the turns of several layers\n"
                        f"  measure this architecture with {setting('device')} offload, or cpu"
                    )
                self._rows[name] = dict(rows)
                seen.append(accumulator)
        commit_all(seen, batch)
        observer.gatherers.commit(batch)
        if ended:
            check_coverage(observer.anatomy, self._planned, observer.hooks, observer.intake, self._rows)
            observer.keep(self._planned)
        self._stepped(self._planned.tokens)
        super().leave(ended)
        return None

    def _forget(self, batch: Batch, left: Mapping[str, Any]) -> None:
        """Where the other process left it: what was seen on the way was counted there."""
        observer = self._observer
        observer.gatherers.rollback()
        for accumulator in observer.accumulators.values():
            accumulator.rollback()
        super().leave(False)
        self._laid, self._left = taken(left, batch, observer.anatomy), None


class Streaming:
    """An observer's pass. `walks` before, `settle` when all have ended; `must_be_alone` says whether sequences that
    shared batches must not, and all is to be done again.
    """

    def __init__(
        self, observer: Observer, plan: BatchPlan, fresh: Fresh, device: torch.device, shard: str | None, alone: bool
    ) -> None:
        self._observer, self._fresh, self._device, self._given_alone = observer, fresh, device, alone
        self._plan, self._mine = observer.ready(plan, shard)
        self._total = sum(batch.tokens for batch in self._mine)
        self._glimpses: list[dict[Piece, Walk[torch.Tensor]]] = [{}, {}]
        self._batches: list[Walk[Callable[[], None]]] = []
        self.pieces: list[tuple[Walk[Any], BatchAside]] = []
        """Its batches as they take turns, with what is noted of each."""
        self.queue = list(self._mine)
        if alone:
            self.queue = [PlannedBatch(split=b.split, sequences=(s,)) for b in self.queue for s in b.sequences]

    @property
    def observed(self) -> tuple[Observer, list[PlannedBatch]]:
        return self._observer, self.queue

    @property
    def tokens(self) -> int:
        return self._total

    def walks(self, begin: Begin, before: Callable[[], None], stepped: Callable[[int], None]) -> list[Walk[Any]]:
        """In the order in which they take turns: what is tried out, the batches, and what must not have changed.
        `before` every step of a batch, and `stepped` with its tokens after it.
        """
        remembered = _pieces(lambda glimpse: Memory(self._plan, glimpse))
        tried = _pieces(lambda glimpse: must_be_alone(self._plan, glimpse))
        for place, pieces in enumerate((dict.fromkeys((*remembered, *tried)), remembered)):
            for rows, length in pieces:
                glimpse = partial(self._observer.glimpse, rows, length, self._device)
                aside = _HooksAside(self._fresh, self._observer)
                self._glimpses[place][rows, length] = begin(glimpse, aside, True)
        for planned in self.queue:
            noting = BatchAside(self._fresh, self._observer, planned, before, stepped)
            self.pieces.append((begin(partial(self._run, planned), noting, False), noting))
        self._batches = [walk for walk, _ in self.pieces]
        walks: list[Walk[Any]] = [*self._glimpses[0].values(), *self._batches, *self._glimpses[1].values()]
        refuse_threads(len(walks), torch.get_num_threads())
        return walks

    def _run(self, planned: PlannedBatch) -> Callable[[], None]:
        try:
            return self._observer.forward(planned, self._device)[1]
        except Exception as error:
            if isinstance(error, MaxactError):
                raise
            names = f"{planned.sequences[0].sample.id} to {planned.sequences[-1].sample.id}"
            if is_out_of_memory(error):
                raise MeasureError(
                    f"out of memory on samples {names} with one layer in memory\n  lower {setting('batch_tokens')}"
                ) from error
            raise MeasureError(
                f"the forward pass failed on samples {names}: {type(error).__name__}: {first_line(error)}"
            ) from error

    def must_be_alone(self) -> bool:
        """What was found of it, or given before. Raises nothing: where it could not be tried, they must."""
        return self._given_alone or must_be_alone(self._plan, self._seen(0))

    def settle(self) -> None:
        """Keep what batches made of final hidden states, and finish. Raises MeasureError for a model that remembers,
        and where not all was seen.
        """
        observer = self._observer
        observer.alone = self._given_alone
        observer.count_apart(self._mine)
        for batch in self._batches:
            batch.result()
        place = [0]
        try:
            memory = Memory(self._plan, lambda rows, length: self._seen(place[0])(rows, length))
        except Exception:
            memory = None
        if memory:
            place[0] = 1
            memory.refuse()
        observer.finish()

    def _seen(self, place: int) -> Callable[[Sequence[Sequence[int]], int], torch.Tensor]:
        walks: Mapping[Piece, Walk[torch.Tensor]] = self._glimpses[place]
        return lambda rows, length: walks[tuple(map(tuple, rows)), length].result


def _pieces(use: Callable[[Callable[[Sequence[Sequence[int]], int], torch.Tensor]], Any]) -> dict[Piece, None]:
    """What is asked for where everything is alike: all that can be asked for, in that order."""
    asked: dict[Piece, None] = defaultdict(lambda: None)

    def note(rows: Sequence[Sequence[int]], length: int) -> torch.Tensor:
        asked[tuple(map(tuple, rows)), length] = None
        return torch.ones(length, 1)

    use(note)
    return dict(asked)
