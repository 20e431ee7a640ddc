"""The waivers of a run: whether they still do their work, told by the findings of every check that they cover, whether
it ran or not.
"""

from pytest_maxact.gate.judging import Judging
from pytest_maxact.gate.measuring import Showing, nothing_shown
from pytest_maxact.gate.plan import Plan
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.verdict import waiving


def waiver_fault(plan: Plan, judging: Judging, waiver: Waiver, showing: Showing = nothing_shown) -> str | None:
    """Why a waiver fails; None where it does its work. Raises MaxactError where its checks cannot be judged."""
    covered = plan.covered(waiver)
    return waiving.waiver_fault(
        waiver, ((subject.label, judging.check(subject, limit, showing)) for subject, limit in covered)
    )


def waiver_is_settled(plan: Plan, judging: Judging, waiver: Waiver) -> bool:
    """Whether telling that measures nothing."""
    return all(judging.is_settled(subject, limit) for subject, limit in plan.covered(waiver))
