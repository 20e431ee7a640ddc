"""Limits written from what a run measured, where that was asked for; its checks were judged by those before."""

from pathlib import Path

from pytest_maxact.errors import MeasureError
from pytest_maxact.gate.judging import Judging
from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.records import Records
from pytest_maxact.numbers.counted import counted
from pytest_maxact.settings.settings import Settings


def update(settings: Settings, plan: Plan, records: Records, judging: Judging) -> list[str]:
    """Write the limits file; what was done, a line each. Raises MaxactError where nothing can be written."""
    from pytest_maxact.judge.suggest.propose import propose
    from pytest_maxact.report.terminal.suggest import closing

    measured = {
        subject.label: record for subject in plan.subjects if (record := records.known(subject.source)) is not None
    }
    if not measured:
        raise MeasureError("nothing was measured, so there is no evidence for limits")
    proposal = propose(
        list(measured.values()),
        Path(settings.limits or ""),
        mode=settings.update or "",
        loosen=settings.loosen,
        labels=list(measured),
    )
    proposal.write()
    failed = sum(not finding.accepted for subject in plan.subjects for finding in judging.known(subject))
    remark = (
        [f"note: {counted(failed, 'check')} of this run did not hold, and these limits accept what it measured"]
        if failed
        else []
    )
    return [
        *proposal.diff().splitlines(),
        *closing(proposal, [], per_layer=False, written=True),
        *(remark if proposal.changed else []),
    ]
