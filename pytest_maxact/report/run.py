"""The section at the end of a pytest run, of one checkpoint or of a series."""

import shlex
from collections import Counter
from collections.abc import Iterable, Set
from contextlib import suppress
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


def write_summary(reporter: Any, session: "GateSession", ran: Set[str]) -> None:
    """`ran`: the node ids of the gate's items that were run.

    Reporting never breaks a run: what cannot be shown is said in one line.
    """
    if not ran:
        count = sum(len(subject.rules.limits) for subject in session.subjects)
        what = session.latest.title if not session.is_series else f"{len(session.subjects)} checkpoints"
        reporter.write_line(f"maxact: none of the {count} checks of {what} was run", yellow=True)
        return
    try:
        text = _text(session, ran, reporter._tw)
        if text is None:
            return
        reporter.section("maxact", sep="=")
        reporter.write(text + "\n")
        if session.settings.save:
            what = "Records" if session.is_series else "Record"
            reporter.write_line(f"{what} written to {session.settings.save}")
    except (MaxactError, ValueError, OSError) as error:
        reporter.write_line(f"maxact: the report could not be shown ({error}); the checks above stand")


def _text(session: "GateSession", ran: Set[str], writer: Any) -> str | None:
    """The report; None where nothing was measured."""
    screen = {"width": writer.fullwidth, "color": writer.hasmarkup, "encoding": str(getattr(writer._file, "encoding", None) or "ascii")}
    measured = [subject for subject in session.subjects if session.record_if_any(subject) is not None]
    failures = [
        f"could not measure{f' {subject.name}' if subject.name else ''}: {failure}"
        for subject in session.subjects
        if (failure := session.failure_if_any(subject)) is not None
    ]
    if not measured:
        return to_text([Text(f"FAIL: {failure}", style="bold red") for failure in failures], **screen) if failures else None
    checked = {(s.name, name.removeprefix(f"{s.node}::")) for name in ran for s in session.subjects if name.startswith(f"{s.node}::")}
    findings = {subject.name: _judged(session, subject) for subject in measured}
    faults = failures + [trouble for _, troubles in findings.values() for trouble in troubles]
    if any(name.startswith("maxact::waive::") for name in ran):
        faults += [fault for waiver in session.waivers if (fault := _fault(session, waiver))]
    if not session.is_series:
        subject = measured[0]
        return render(
            session.record(subject), subject.rules, findings[subject.name][0], ran={check for _, check in checked}, faults=faults,
            baselines=_known_baselines(session, subject.against), tighten=_tightening(session), **screen,
        )  # fmt: skip
    latest = measured[-1]
    return series.render(
        [Stage(name=subject.name, step=subject.source.step, record=session.record(subject)) for subject in measured],
        {name: judged for name, (judged, _) in findings.items()},
        limits=latest.rules.limits,
        horizon=session.settings.horizon,
        ran=checked,
        faults=faults,
        unmeasured=[subject.name for subject in session.subjects if subject not in measured],
        baselines=_known_baselines(session, session.baseline_names),
        notes=footing_notes(session.record(latest), latest.rules, findings[latest.name][0]),
        **screen,
    )


def _judged(session: "GateSession", subject: "Subject") -> tuple[list[Finding], list[str]]:
    """The findings of a checkpoint, and why others could not be had: a baseline that could not be measured, and what else failed their checks."""
    findings, reasons = [], Counter[str]()
    for limit in subject.rules.limits:
        try:
            findings.append(session.check(subject, limit))
        except MaxactError as error:
            reasons[first_line(error)] += 1
    whose = f" of {subject.name}" if subject.name else ""
    return findings, [f"{count} checks{whose} could not be judged: {reason}" for reason, count in reasons.items()]


def _fault(session: "GateSession", waiver: Waiver) -> str | None:
    try:
        return session.waiver_fault(waiver)
    except MaxactError as error:
        return f"the waiver for {waiver.site} could not be judged: {first_line(error)}"


def _known_baselines(session: "GateSession", names: Iterable[str]) -> dict[str, Record]:
    """Those that could be measured."""
    found = {}
    for name in names:
        with suppress(MaxactError):
            found[name] = session.baseline(name)
    return found


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
