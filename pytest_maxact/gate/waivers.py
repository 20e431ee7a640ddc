"""The waivers of a run: whether they still do their work, told by the findings of every check that they cover, whether
it ran or not.
"""

from collections.abc import Iterator

from pytest_maxact.gate.judging import Judging
from pytest_maxact.gate.measuring import Showing, nothing_shown
from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.limits.weights import WEIGHTS
from pytest_maxact.judge.verdict import waiving


def waiver_fault(plan: Plan, judging: Judging, waiver: Waiver, showing: Showing = nothing_shown) -> str | None:
    """Why a waiver fails; None where it does its work. Raises MaxactError where its checks cannot be judged."""
    for subject, limit in _needed(plan, waiver):
        judging.check(subject, limit, showing)
    return waiving.waiver_fault(
        waiver,
        ((subject.label, judging.check(subject, limit, showing)) for subject, limit in _covered(plan, judging, waiver)),
    )


def waiver_is_settled(plan: Plan, judging: Judging, waiver: Waiver) -> bool:
    """Whether telling that measures nothing."""
    checks = (*_needed(plan, waiver), *_covered(plan, judging, waiver))
    return all(judging.is_settled(subject, limit) for subject, limit in checks)


def _needed(plan: Plan, waiver: Waiver) -> Iterator[tuple[Subject, Limit]]:
    """Checks that are judged before it is known which others a waiver covers: those of all weights, for one that names
    tensors.
    """
    for subject in plan.subjects if waiver.names_tensors else ():
        if waiver.speaks_of(subject.label):
            yield from ((subject, limit) for limit in subject.rules.limits if limit.site == WEIGHTS)


def _covered(plan: Plan, judging: Judging, waiver: Waiver) -> Iterator[tuple[Subject, Limit]]:
    """Every check that a waiver speaks about: those of the plan, and those of tensors that are at fault."""
    yield from plan.covered(waiver)
    for subject in plan.subjects if waiver.names_tensors else ():
        for limit in judging.limits(subject)[len(subject.rules.limits) :]:
            if waiver.covers(limit, subject.label):
                yield subject, limit
