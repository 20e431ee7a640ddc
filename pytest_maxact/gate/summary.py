"""The section at the end of a pytest run, of one checkpoint or of a series."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from pytest_maxact.errors import MaxactError, Words, first_line, marked, setting, worded
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.series.trend import Stage
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.record import Record
from pytest_maxact.report.terminal.console import to_text
from pytest_maxact.report.terminal.footing import footing_notes
from pytest_maxact.report.terminal.record import render as render_record
from pytest_maxact.report.terminal.series import render as render_series

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.gate.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
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


def write_summary(reporter: Any, session: "GateSession", outcomes: Outcomes, words: Words) -> None:
    """Reporting never breaks a run, and never measures: what cannot be shown is said in one line. `words`: how pytest
    says a setting.
    """
    if not outcomes.run:
        count = sum(len(subject.rules.limits) for subject in session.subjects)
        what = session.latest.title if not session.is_series else f"{len(session.subjects)} checkpoints"
        reporter.write_line(f"maxact: none of the {count} checks of {what} was run", yellow=True)
        for trouble in outcomes.troubles:
            reporter.write_line(f"maxact: {worded(trouble, words)}", red=True)
        return
    try:
        text = _text(session, outcomes, reporter._tw, words)
        if text is None:
            return
        reporter.section("maxact", sep="=")
        reporter.write(text + "\n")
        if session.settings.save and any(session.record_if_any(subject) is not None for subject in session.subjects):
            what = "Records" if session.is_series else "Record"
            reporter.write_line(f"{what} written to {session.settings.save}")
    except (MaxactError, ValueError, OSError) as error:
        what = worded(marked(error), words)
        reporter.write_line(f"maxact: the report could not be shown ({what}); the checks above stand")


def _text(session: "GateSession", outcomes: Outcomes, writer: Any, words: Words) -> str | None:
    """The report; None where there is nothing to say."""
    screen = {
        "width": writer.fullwidth,
        "color": writer.hasmarkup,
        "encoding": str(getattr(writer._file, "encoding", None) or "ascii"),
        "words": words,
    }
    measured = [subject for subject in session.subjects if session.record_if_any(subject) is not None]
    failures = [
        f"could not measure{f' {subject.name}' if subject.name else ''}: {failure}"
        for subject in session.subjects
        if (failure := session.failure_if_any(subject)) is not None
    ]
    judged = {subject.name: _judged(session, subject, _of(subject, outcomes.run)) for subject in measured}
    waivers = _waiver_faults(session, outcomes.run)
    faults = [*failures, *outcomes.troubles, *(trouble for one in judged.values() for trouble in one.troubles)]
    faults += [*_broken_off(session, outcomes.failed, judged, waivers), *waivers.values()]
    if not measured:
        return to_text([Text(f"FAIL: {fault}", style="bold red") for fault in faults], **screen) if faults else None
    unknown = sum(one.unknown for one in judged.values())
    if not session.is_series:
        subject = measured[0]
        return render_record(
            session.record(subject),
            subject.rules,
            judged[subject.name].findings,
            ran=_of(subject, outcomes.run),
            faults=faults,
            unknown=unknown,
            baselines=_known_baselines(session, subject.against),
            tighten=_tightening(session),
            **screen,
        )
    latest = measured[-1]
    return render_series(
        [Stage(name=subject.name, step=subject.source.step, record=session.record(subject)) for subject in measured],
        {name: one.findings for name, one in judged.items()},
        limits=latest.rules.limits,
        horizon=session.settings.horizon,
        ran={(subject.name, check) for subject in measured for check in _of(subject, outcomes.run)},
        faults=faults,
        unknown=unknown,
        unmeasured=[subject.name for subject in session.subjects if subject not in measured],
        baselines=_known_baselines(session, session.baseline_names),
        notes=footing_notes(session.record(latest), latest.rules, judged[latest.name].findings),
        **screen,
    )


def _of(subject: "Subject", names: Set[str]) -> set[str]:
    """The checks of a checkpoint among node ids."""
    return {name.removeprefix(f"{subject.node}::") for name in names if name.startswith(f"{subject.node}::")}


def _judged(session: "GateSession", subject: "Subject", ran: Set[str]) -> _Judged:
    """Every check that ran, and of the others those that need nothing more to be measured."""
    findings, reasons, unknown = [], dict[str, str](), 0
    for limit in subject.rules.limits:
        reason = "broken off before the Records that they need were there"
        if session.is_settled(subject, limit):
            try:
                findings.append(session.check(subject, limit))
                continue
            except MaxactError as error:
                reason = first_line(error)
        if limit.check in ran:
            reasons[limit.check] = reason
        else:
            unknown += 1
    whose = f" of {subject.name}" if subject.name else ""
    troubles = [
        f"{count} checks{whose} could not be judged: {reason}" for reason, count in Counter(reasons.values()).items()
    ]
    return _Judged(findings=findings, troubles=troubles, unjudged=reasons.keys(), unknown=unknown)


def _waiver_faults(session: "GateSession", ran: Set[str]) -> dict[str, str]:
    """What is wrong with the waivers whose checks ran, by node id."""
    faults = {}
    for waiver in session.waivers:
        name = f"maxact::waive::{session.waiver_name(waiver)}"
        if name in ran and (fault := _fault(session, waiver)):
            faults[name] = fault
    return faults


def _fault(session: "GateSession", waiver: Waiver) -> str | None:
    try:
        if session.waiver_is_settled(waiver):
            return session.waiver_fault(waiver)
        return f"the waiver for {waiver.site} could not be judged: its checks were not measured"
    except MaxactError as error:
        return f"the waiver for {waiver.site} could not be judged: {first_line(error)}"


def _broken_off(
    session: "GateSession", failed: Set[str], judged: Mapping[str, _Judged], waivers: Mapping[str, str]
) -> list[str]:
    """What failed and is explained by nothing of the gate: a hook of the user's broke it off, or a worker died."""
    explained = set(waivers)
    for subject in session.subjects:
        if session.failure_if_any(subject) is not None:
            explained |= {f"{subject.node}::{check}" for check in _of(subject, failed)}
        elif subject.name in judged:
            one = judged[subject.name]
            breaches = (finding.limit.check for finding in one.findings if not finding.accepted)
            explained |= {f"{subject.node}::{check}" for check in (*breaches, *one.unjudged)}
    names = sorted(failed - explained)
    return (
        [f"{len(names)} checks were broken off by an error outside of the gate, the first {names[0]}"] if names else []
    )


def _known_baselines(session: "GateSession", names: Iterable[str]) -> dict[str, Record]:
    """Those that this run has."""
    return {name: record for name in names if (record := session.baseline_if_any(name)) is not None}


def _tightening(session: "GateSession") -> str:
    """The command that sets limits from this run; none where it does so already."""
    settings = session.settings
    if settings.update:
        return ""
    file = settings.limits or "FILE"
    if settings.replay:
        return (
            f"{shlex.join(['maxact', 'suggest', settings.replay, '--limits', file, '--update', 'all'])} (with"
            " --per-layer for every site)"
        )
    return (
        f"the same command with {setting('limits')}={shlex.quote(file)} {setting('update')}=all; for "
        "every site, maxact suggest"
        " --per-layer"
    )
