"""One pass over a corpus by several ranks: every rank runs its share of the batches, and rank 0 has in the end what a
single process would have seen.

Batches are dealt so that ranks have about as much to do of each split. Where a scheme takes its scales from the
calibration split, all ranks exchange what they saw of it before any runs an evaluation batch. What a rank did not see
is not in its state, and changes nothing; a rank without batches is there all the same.
"""

from collections.abc import Callable, Mapping

from pytest_maxact.corpus.batches import BatchPlan, PlannedBatch
from pytest_maxact.measure.observe.fidelity import Fidelity
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.reduction import Entry, Held, How, State, reduced, under, within
from pytest_maxact.measure.observe.state import restore, scales_of, state_of
from pytest_maxact.measure.progress import Counted
from pytest_maxact.measure.ranks.parcel import connected, receive, send
from pytest_maxact.measure.ranks.team import Team


class Together:
    """The pass of one rank beside the others'. `facts`: gives what must be equal on all ranks, by name; None where a
    rank does not tell.
    """

    holds_a_part = False
    """Whether ranks hold one model together, and whatever runs it runs on all of them."""

    def __init__(self, team: Team, facts: Callable[[], Mapping[str, str | None]]) -> None:
        self.team, self.facts = team, facts
        self._is_calibrated = False

    def mine(self, plan: BatchPlan) -> BatchPlan:
        """The batches of this rank."""
        return shares(plan, self.team.place.size)[self.team.place.rank]

    def watched(self, progress: Counted | None) -> Counted:
        """After every batch: whether the others still go on, and how far this rank is."""

        def ran(done: int, total: int, largest: float) -> None:
            self.team.check()
            if progress:
                progress(done, total, largest)

        return ran

    def meets(self, planned: PlannedBatch, fidelity: Fidelity) -> None:
        """Before every batch, those of the calibration split first."""
        if planned.split != "calibration" and not self._is_calibrated:
            self.calibrated(fidelity)

    def refused(self, planned: PlannedBatch) -> None:
        """After a batch that did not fit here: it is halved here."""

    def calibrated(self, fidelity: Fidelity) -> None:
        """Between the splits: the scales of all calibration batches, whoever ran them."""
        self._is_calibrated = True
        if not fidelity.calibrates:
            return
        channels = under("channels", within("channels", fidelity.state()))
        seen = self._gathered(under("fidelity", channels), "calibrated")
        with connected(self.team.place, self.team.meet("scales")):
            if self.team.place.leads:
                assert seen is not None
                for rank in self.team.others:
                    send(seen, rank)
            else:
                seen = receive(0)
        fidelity.channels.update(scales_of([seen]))

    def joined(self, observer: Observer, told: Held | None) -> bool:
        """After the last batch: rank 0 holds what all saw, and is told so; the others are done."""
        if not self._is_calibrated:
            self.calibrated(observer.fidelity)
        facts = {f"rank/{name}": Entry(value, How.EQUAL) for name, value in self.facts().items()}
        whole = self._gathered({**state_of(observer, told), **facts}, "seen")
        if whole is not None:
            restore(observer, {name: entry for name, entry in whole.items() if not name.startswith("rank/")}, told)
        return whole is not None

    def _gathered(self, state: State, name: str) -> State | None:
        """On rank 0 what all ranks hold together, one other's state at a time; None on the others."""
        with connected(self.team.place, self.team.meet(name)):
            if not self.team.place.leads:
                send(state, 0)
                return None
            for rank in self.team.others:
                state = reduced([state, receive(rank)])
            return state


def shares(plan: BatchPlan, ranks: int) -> list[BatchPlan]:
    """A plan dealt to so many ranks, the batches of each in their order: of each split the longest batch first, to
    whoever has the least so far.
    """
    owner: dict[int, int] = {}
    for split in sorted({batch.split for batch in plan}):
        loads = [0] * ranks
        mine = [place for place, batch in enumerate(plan) if batch.split == split]
        for place in sorted(mine, key=lambda place: -_cost(plan, place)):
            owner[place] = loads.index(min(loads))
            loads[owner[place]] += _cost(plan, place)
    return [[batch for place, batch in enumerate(plan) if owner[place] == rank] for rank in range(ranks)]


def _cost(plan: BatchPlan, place: int) -> int:
    """Tokens that a batch makes the model run, padding included."""
    return plan[place].tokens + plan[place].padded_tokens
