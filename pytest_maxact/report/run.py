"""The section at the end of a pytest run, of one checkpoint or of a series."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from pytest_maxact.errors import MaxactError, first_line
from pytest_maxact.limits import Waiver
from pytest_maxact.record import Record
from pytest_maxact.report import series
from pytest_maxact.report.console import to_text
from pytest_maxact.report.footing import footing_notes
from pytest_maxact.report.terminal import render
from pytest_maxact.trend import Stage
from pytest_maxact.verdict import Finding

if TYPE_CHECKING:
    from pytest_maxact.session import GateSession
    from pytest_maxact.subject import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What became of the gate's items, by node id: those that were `run`, of them those that `failed` or ended in an error, and what else went wrong."""

    run: Set[str]
    failed: Set[str]
    troubles: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """Findings of one checkpoint, why others could not be had of checks that ran, and how many were neither run nor can be judged."""

    findings: Sequence[Finding]
    troubles: Sequence[str]
    unknown: int


def write_summary(reporter: Any, session: "GateSession", outcomes: Outcomes) -> None:
    """Reporting never breaks a run, and never measures: what cannot be shown is said in one line."""
    if not outcomes.run:
        count = sum(len(subject.rules.limits) for subject in session.subjects)
        what = session.latest.title if not session.is_series else f"{len(session.subjects)} checkpoints"
        reporter.write_line(f"maxact: none of the {count} checks of {what} was run", yellow=True)
        for trouble in outcomes.troubles:
            reporter.write_line(f"maxact: {trouble}", red=True)
        return
    try:
        text = _text(session, outcomes, reporter._tw)
        if text is None:
            return
        reporter.section("maxact", sep="=")
        reporter.write(text + "\n")
        if session.settings.save and any(session.record_if_any(subject) is not None for subject in session.subjects):
            what = "Records" if session.is_series else "Record"
            reporter.write_line(f"{what} written to {session.settings.save}")
    except (MaxactError, ValueError, OSError) as error:
        reporter.write_line(f"maxact: the report could not be shown ({error}); the checks above stand")


def _text(session: "GateSession", outcomes: Outcomes, writer: Any) -> str | None:
    """The report; None where there is nothing to say."""
    screen = {"width": writer.fullwidth, "color": writer.hasmarkup, "encoding": str(getattr(writer._file, "encoding", None) or "ascii")}
    measured = [subject for subject in session.subjects if session.record_if_any(subject) is not None]
    failures = [
        f"could not measure{f' {subject.name}' if subject.name else ''}: {failure}"
        for subject in session.subjects
        if (failure := session.failure_if_any(subject)) is not None
    ]
    if not measured:
        told = [*failures, *outcomes.troubles]
        return to_text([Text(f"FAIL: {trouble}", style="bold red") for trouble in told], **screen) if told else None
    judged = {subject.name: _judged(session, subject, _of(subject, outcomes.run)) for subject in measured}
    faults = [*failures, *outcomes.troubles, *(trouble for one in judged.values() for trouble in one.troubles)]
    faults += _broken_off(session, {subject.name: _of(subject, outcomes.failed) for subject in measured}, judged)
    if any(name.startswith("maxact::waive::") for name in outcomes.run):
        faults += [fault for waiver in session.waivers if (fault := _fault(session, waiver))]
    unknown = sum(one.unknown for one in judged.values())
    if not session.is_series:
        subject = measured[0]
        return render(
            session.record(subject), subject.rules, judged[subject.name].findings, ran=_of(subject, outcomes.run), faults=faults,
            unknown=unknown, baselines=_known_baselines(session, subject.against), tighten=_tightening(session), **screen,
        )  # fmt: skip
    latest = measured[-1]
    return series.render(
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
    findings, reasons, unknown = [], Counter[str](), 0
    for limit in subject.rules.limits:
        if limit.check not in ran and not session.is_known(subject, limit):
            unknown += 1
            continue
        try:
            findings.append(session.check(subject, limit))
        except MaxactError as error:
            if limit.check in ran:
                reasons[first_line(error)] += 1
            else:
                unknown += 1
    whose = f" of {subject.name}" if subject.name else ""
    troubles = [f"{count} checks{whose} could not be judged: {reason}" for reason, count in reasons.items()]
    return _Judged(findings=findings, troubles=troubles, unknown=unknown)


def _broken_off(session: "GateSession", failed: Mapping[str, Set[str]], judged: Mapping[str, _Judged]) -> list[str]:
    """Checks that hold, and failed all the same: something else broke them off, as a hook of the user's, or a worker that died."""
    names = [
        f"{session.subject(name).node}::{finding.limit.check}"
        for name, one in judged.items()
        for finding in one.findings
        if finding.accepted and finding.limit.check in failed[name]
    ]
    return [f"{len(names)} checks were broken off by an error outside of the gate, the first {names[0]}"] if names else []


def _fault(session: "GateSession", waiver: Waiver) -> str | None:
    try:
        return session.waiver_fault(waiver)
    except MaxactError as error:
        return f"the waiver for {waiver.site} could not be judged: {first_line(error)}"


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
            f"{shlex.join(['maxact', 'suggest', settings.replay, '--limits', file, '--update', 'all'])} (with --per-layer for every site)"
        )
    return f"the same command with --maxact-limits={shlex.quote(file)} --maxact-update=all; for every site, maxact suggest --per-layer"
