"""What figures of a run are drawn from, where a report draws any: its session, a checkpoint and what was found of it
in, plain data out.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.record import Record

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.gate.subject import Subject
    from pytest_maxact.judge.figures.drawn import Drawn
    from pytest_maxact.judge.series.trend import Stage


def drawn_for(
    session: "GateSession",
    subject: "Subject",
    record: Record,
    findings: Sequence[Finding],
    baselines: Mapping[str, Record],
) -> "Drawn":
    """Of one checkpoint; the last of a series that has a Record is drawn with the others."""
    from pytest_maxact.judge.figures.drawn import drawn_of

    stages = stages_of(session) if session.plan.is_series else []
    last = bool(stages) and stages[-1].name == subject.name
    return drawn_of(record, subject.rules, findings, baselines, stages if last else ())


def stages_of(session: "GateSession") -> "list[Stage]":
    """The checkpoints of which the run has a Record, in the order of their steps."""
    from pytest_maxact.judge.series.trend import Stage

    known = ((subject, session.records.known(subject.source)) for subject in session.plan.subjects)
    return [Stage(name=one.name, step=one.source.step, record=record) for one, record in known if record is not None]
