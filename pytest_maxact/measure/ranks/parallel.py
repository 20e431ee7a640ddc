"""One model held by several ranks, each of which has some channels of every layer: all run every batch together, each
counts the channels that it sees, and rank 0 has in the end what a single process would have seen.

A tensor that is split is put together only where a scheme needs whole rows: of sampled tokens, and the maxima of
channels. Guard: all ranks run the same batches in the same order; one that fails, dies or goes another way fails the
measurement.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.distributed as dist

from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.corpus.batches import BatchPlan, PlannedBatch
from pytest_maxact.errors import MeasureError, setting
from pytest_maxact.measure.observe.fidelity import Fidelity
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.reduction import Held, State
from pytest_maxact.measure.observe.state import restore, state_of
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.ranks.across import across
from pytest_maxact.measure.ranks.parcel import connected, hang_up, receive, send, sockets
from pytest_maxact.measure.ranks.team import Team
from pytest_maxact.measure.ranks.together import Together
from pytest_maxact.numbers.ways import PARALLEL

_EVIDENCE = 5.0
"""Seconds in which it shows why an exchange broke off."""
_BROKEN_OFF = ("connection", "peer", "gloo", "nccl", "socket", "timed out")


class Parallel(Together):
    """The pass of one rank beside the others'. `widths`: of every part of every site in one piece."""

    holds_a_part = True

    def __init__(
        self, team: Team, facts: Callable[[], Mapping[str, str | None]], widths: Mapping[tuple[str, str], int]
    ) -> None:
        super().__init__(team, facts)
        self._widths = widths
        self._ran = 0
        self._agreed = False

    def mine(self, plan: BatchPlan) -> BatchPlan:
        return list(plan)

    def meets(self, planned: PlannedBatch, fidelity: Fidelity) -> None:
        """Before every batch: it is that of the others."""
        fidelity.whole = self.whole
        self._ran += 1
        names = ",".join(sequence.sample.id for sequence in planned.sequences)
        self.team.meet(f"batch/{self._ran}", hashlib.sha256(names.encode()).hexdigest()[:16])

    def refused(self, planned: PlannedBatch) -> None:
        raise MeasureError(
            f"out of memory on a batch of {planned.tokens} tokens, which ranks that hold one model run together\n"
            f"  lower {setting('batch_tokens')}, or start more ranks"
        )

    def whole(self, tap: Tap, rows: torch.Tensor) -> torch.Tensor:
        """Rows [..., width] of a tap with the channels of all ranks."""
        width = self._widths.get((tap.site.name, tap.part))
        if rows.shape[-1] == width:
            return rows
        pieces = [torch.empty_like(rows) for _ in range(self.team.place.size)]
        dist.all_gather(pieces, rows.contiguous())
        return torch.cat(pieces, dim=-1)

    def joined(self, observer: Observer, told: Held | None) -> bool:
        """After the last batch: rank 0 holds what all saw, and is told so; the others are done."""
        if not self._agreed:
            self._agree_on_facts()
        state = state_of(observer, told)
        self.team.meet(f"seen/{self._ran}")
        if not self.team.place.leads:
            send(state, 0)
            return False
        states: list[State] = [state, *(receive(rank) for rank in self.team.others)]
        restore(observer, across(states, self._widths), told)
        return True

    def _agree_on_facts(self) -> None:
        """What decides figures is the same on all ranks, as far as each tells it."""
        for name, told in self.facts().items():
            self.team.meet(f"fact/{name}", told or "")
        self._agreed = True


def company_of(team: Team, prepared: Prepared, facts: Callable[[], Mapping[str, str | None]]) -> Together:
    """The others, as a pass meets them."""
    return Parallel(team, facts, prepared.widths) if is_parallel(prepared) else Together(team, facts)


def sharing(team: Team | None, prepared: Prepared) -> AbstractContextManager[None]:
    """Around loading and all that a model runs, what several ranks need to hold it together."""
    return _holding_one_model(team) if team and is_parallel(prepared) else nullcontext()


def is_parallel(prepared: Prepared) -> bool:
    return prepared.placement is not None and prepared.placement.how == PARALLEL


@contextmanager
def _holding_one_model(team: Team) -> Iterator[None]:
    """While ranks hold one model together: what it exchanges goes from device to device."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    failed: Exception | None = None
    before = sockets()
    with connected(team.place, team.meet("model"), backend):
        try:
            yield
        except Exception as error:
            failed = error
    if failed is None:
        return
    hang_up(before)  # the model and its mesh, which hold connections, live as long as what they were met in
    if team.place.leads and any(word in str(failed).lower() for word in _BROKEN_OFF):
        until = time.monotonic() + _EVIDENCE
        while time.monotonic() < until:
            team.check()  # raises, with why another broke off
            time.sleep(0.1)
    raise failed
