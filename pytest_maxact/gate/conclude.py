"""The end of a run: its session, and what pytest reported of its items, in; the outcome, plain data for every report,
out. Nothing is measured here; a check that failed and is explained by nothing of the gate is told as such.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_maxact.errors import MaxactError, first_line, marked, shown
from pytest_maxact.gate.drawing import drawn_for, stages_of
from pytest_maxact.gate.waivers import waiver_fault, waiver_is_settled
from pytest_maxact.judge.limits.waivers import Waiver, waiver_remarks
from pytest_maxact.judge.outcome import Checkpoint, Outcome
from pytest_maxact.judge.portray import portray
from pytest_maxact.judge.remarks import noise_remarks, remarks_on, unwatched_remark
from pytest_maxact.judge.strength import strength_of, weakest
from pytest_maxact.judge.verdict.close import close_remarks
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.scales import unread_calls
from pytest_maxact.judge.verdict.tally import Tally, Told, tally_of
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.record import Record

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.gate.subject import Subject
    from pytest_maxact.judge.series.series import Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What became of the gate's items, by node id: those that were `run`, of them those that `failed` or ended in an
    error, and what else went wrong.
    """

    run: Set[str]
    failed: Set[str]
    troubles: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """Findings of one checkpoint, why others could not be had of checks that ran, which those are, and how many were
    neither run nor can be judged.
    """

    findings: Sequence[Finding]
    troubles: Sequence[str]
    unjudged: Set[str]
    unknown: int


def all_reported(session: "GateSession") -> Reported:
    """What is reported of a run outside pytest: every item ran, and none was broken off."""
    own = (
        f"{subject.node}::{limit.check}"
        for subject in session.plan.subjects
        for limit in session.judging.limits(subject)
    )
    return Reported(run=frozenset((*session.plan.ids, *own)), failed=frozenset())


def conclude(session: "GateSession", reported: Reported, tighten: str = "", *, drawn: bool = False) -> Outcome:
    """The outcome of a run; where none of its items ran, its checkpoints and what went wrong alone. `tighten`: the
    command that sets limits from this run, advised only where it passed. `drawn`: whether a report draws figures, as a
    page does, of the last checkpoint that was measured.

    Raises MaxactError, ValueError or OSError where a Record that is there cannot be shown.
    """
    if not reported.run:
        bare = tuple(_checkpoint(session, subject, None, frozenset()) for subject in session.plan.subjects)
        return Outcome(checkpoints=bare, faults=(*session.records.unsaved, *reported.troubles))
    subjects = session.plan.subjects
    ran = {subject.name: _of(session, subject, reported.run) for subject in subjects}
    judged = {
        subject.name: _judged(session, subject, ran[subject.name])
        for subject in session.plan.subjects
        if session.records.known(subject.source) is not None
    }
    waivers = _waiver_faults(session, reported.run)
    faults = (
        *_failures(session),
        *session.records.unsaved,
        *reported.troubles,
        *(trouble for one in judged.values() for trouble in one.troubles),
        *_broken_off(session, reported.failed, judged, waivers),
        *waivers.values(),
    )
    pictured = [*judged][-1] if judged and (drawn or session.settings.html) else None
    held = sum(session.plan.waiver_id(waiver) in reported.run for waiver in session.plan.waivers)
    told = (held, len(waivers), len(session.plan.waivers) - held)
    verdict = _verdict(session, judged, ran, faults, told) if judged else None
    return Outcome(
        checkpoints=tuple(
            _checkpoint(session, subject, judged.get(subject.name), ran[subject.name], subject.name == pictured)
            for subject in session.plan.subjects
        ),
        ran=len(reported.run),
        verdict=verdict,
        series=_series(session, judged) if session.plan.is_series and judged else None,
        faults=faults,
        waiver_faults=tuple(waivers.values()),
        baselines=tuple(_known_baselines(session, session.plan.baseline_names)),
        tighten=tighten if verdict and verdict.passed else "",
    )


def _verdict(
    session: "GateSession",
    judged: Mapping[str, _Judged],
    ran: Mapping[str, Set[str]],
    faults: Sequence[str],
    waivers: tuple[int, int, int],
) -> Tally:
    """`waivers`: how many were run, how many of them fail, and how many were not run."""
    strengths, remarks, unkept = [], [], session.records.unkept
    for name, one in judged.items():
        subject = session.plan.subject(name)
        record = session.records.obtain(subject.source)
        provenance = record.provenance
        own = (*remarks_on(record), *unwatched_remark(record, subject.rules.limits))
        remarks += [f"{shown(name)}: {remark}" if name else remark for remark in own]
        unscaled = bool(unread_calls(record))
        strengths.append(
            strength_of(subject.rules, provenance.tokens, len(provenance.samples), one.findings, unscaled)
        )  # fmt: skip
    strength = weakest(strengths)
    return tally_of(
        [Told(checkpoint=name, finding=finding) for name, one in judged.items() for finding in one.findings],
        {(name, check) for name in judged for check in ran[name]},
        faults,
        sum(one.unknown for one in judged.values()) + _unmeasured(session, judged, ran),
        rests=strength.words if strength else "",
        warnings=[
            *waiver_remarks(
                dict.fromkeys(waiver for subject in session.plan.subjects for waiver in subject.rules.waivers),
                [(subject.label, limit) for subject in session.plan.subjects for limit in subject.rules.limits],
            ),
            *([strength.shortage] if strength and strength.shortage else []),
            *dict.fromkeys(remark for name in judged for remark in session.plan.subject(name).rules.remarks),
            *remarks,
            *noise_remarks(finding for one in judged.values() for finding in one.findings),
            *close_remarks(
                finding for name, one in judged.items() for finding in one.findings if finding.limit.check in ran[name]
            ),
            *session.records.resumed,
            *([f"Records are not kept, the next run measures all again: {unkept}"] if unkept else []),
        ],
        waivers=waivers[0],
        failing_waivers=waivers[1],
        waivers_left=waivers[2],
        unjudged=sum(len(judged[name].unjudged if name in judged else checks) for name, checks in ran.items()),
    )


def _unmeasured(session: "GateSession", judged: Mapping[str, _Judged], ran: Mapping[str, Set[str]]) -> int:
    """How many checks of checkpoints without a Record were not run."""
    return sum(
        len({limit.check for limit in session.judging.limits(subject)} - ran[subject.name])
        for subject in session.plan.subjects
        if subject.name not in judged
    )


def _checkpoint(
    session: "GateSession", subject: "Subject", judged: _Judged | None, ran: frozenset[str], drawn: bool = False
) -> Checkpoint:
    """One of a series is compared with others in the series' own part of the outcome."""
    record = session.records.known(subject.source) if judged else None
    findings = tuple(judged.findings) if judged else ()
    baselines = {} if session.plan.is_series else _known_baselines(session, subject.against)
    return Checkpoint(
        name=subject.name,
        node=subject.node,
        label=subject.label,
        title=subject.title,
        step=subject.source.step,
        portrait=portray(record, subject.rules, findings, baselines) if record else None,
        failure=session.records.failure(subject.source),
        findings=findings,
        checks=len({limit.check for limit in session.judging.limits(subject)}),
        ran=ran,
        drawn=drawn_for(session, subject, record, findings, baselines) if record and drawn else None,
    )


def _series(session: "GateSession", judged: Mapping[str, _Judged]) -> "Series":
    from pytest_maxact.judge.series.series import series_of

    measured = [subject for subject in session.plan.subjects if subject.name in judged]
    return series_of(
        stages_of(session),
        measured[-1].rules.limits,
        session.settings.horizon,
        {name: one.findings for name, one in judged.items()},
    )


def _failures(session: "GateSession") -> list[str]:
    return [
        f"could not measure{f' {shown(subject.name)}' if subject.name else ''}: {failure}"
        for subject in session.plan.subjects
        if (failure := session.records.failure(subject.source)) is not None
    ]


def _of(session: "GateSession", subject: "Subject", names: Set[str]) -> frozenset[str]:
    """The checks of a checkpoint among node ids, those of waivers left out."""
    checks = (limit.check for limit in session.judging.limits(subject))
    return frozenset(check for check in checks if f"{subject.node}::{check}" in names)


def _judged(session: "GateSession", subject: "Subject", ran: Set[str]) -> _Judged:
    """Every check that ran, and of the others those that need nothing more to be measured."""
    findings, reasons, unknown = [], dict[str, str](), 0
    for limit in session.judging.limits(subject):
        reason = "broken off before the Records that they need were there"
        if session.judging.is_settled(subject, limit):
            try:
                findings.append(session.judging.check(subject, limit))
                continue
            except MaxactError as error:
                reason = marked(error)
        if limit.check in ran:
            reasons[limit.check] = reason
        else:
            unknown += 1
    whose = f" of {shown(subject.name)}" if subject.name else ""
    troubles = [
        f"{counted(count, 'check')}{whose} could not be judged: {reason}"
        for reason, count in Counter(reasons.values()).items()
    ]
    return _Judged(findings=findings, troubles=troubles, unjudged=reasons.keys(), unknown=unknown)


def _waiver_faults(session: "GateSession", ran: Set[str]) -> dict[str, str]:
    """What is wrong with the waivers whose checks ran, by node id."""
    faults = {}
    for waiver in session.plan.waivers:
        name = session.plan.waiver_id(waiver)
        if name in ran and (fault := _fault(session, waiver)):
            faults[name] = fault
    return faults


def _fault(session: "GateSession", waiver: Waiver) -> str | None:
    try:
        if waiver_is_settled(session.plan, session.judging, waiver):
            return waiver_fault(session.plan, session.judging, waiver)
        return f"the waiver for {waiver.site} could not be judged: its checks were not measured"
    except MaxactError as error:
        return f"the waiver for {waiver.site} could not be judged: {first_line(error)}"


def _broken_off(
    session: "GateSession", failed: Set[str], judged: Mapping[str, _Judged], waivers: Mapping[str, str]
) -> list[str]:
    """What failed and is explained by nothing of the gate: a hook of the user's broke it off, or a worker died."""
    explained = set(waivers)
    for subject in session.plan.subjects:
        if session.records.failure(subject.source) is not None:
            explained |= {f"{subject.node}::{check}" for check in _of(session, subject, failed)}
        elif subject.name in judged:
            one = judged[subject.name]
            breaches = (finding.limit.check for finding in one.findings if not finding.accepted)
            explained |= {f"{subject.node}::{check}" for check in (*breaches, *one.unjudged)}
    names = sorted(failed - explained)
    return (
        [
            f"{counted(len(names), 'check', 'was', 'were')} broken off by an error outside of the gate, the first"
            f" {names[0]}"
        ]
        if names
        else []
    )


def _known_baselines(session: "GateSession", names: Iterable[str]) -> dict[str, Record]:
    """Those that this run has."""
    return {name: record for name in names if (record := session.records.known(session.plan.source(name))) is not None}
