"""The section at the end of a pytest run, of one checkpoint or of a series."""

import shlex
from collections.abc import Set
from typing import TYPE_CHECKING, Any

from pytest_maxact.errors import MaxactError
from pytest_maxact.report import series
from pytest_maxact.report.terminal import render
from pytest_maxact.trend import Stage

if TYPE_CHECKING:
    from pytest_maxact.session import GateSession


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
    if not measured:
        return None
    checked = {(s.name, name.removeprefix(f"{s.node}::")) for name in ran for s in session.subjects if name.startswith(f"{s.node}::")}
    waivers = session.waivers if any(name.startswith("maxact::waive::") for name in ran) else ()
    faults = [fault for waiver in waivers if (fault := session.waiver_fault(waiver))]
    if not session.is_series:
        subject = measured[0]
        checks = {check for _, check in checked}
        return render(
            session.record(subject),
            subject.rules,
            session.judge(subject),
            ran=checks,
            faults=faults,
            baselines=session.baselines(subject),
            **screen,
        )
    latest = measured[-1]
    return series.render(
        [Stage(name=subject.name, step=subject.source.step, record=session.record(subject)) for subject in measured],
        {subject.name: session.judge(subject) for subject in measured},
        limits=latest.rules.limits,
        horizon=session.settings.horizon,
        ran=checked,
        faults=faults,
        unmeasured=[subject.name for subject in session.subjects if subject not in measured],
        **screen,
    )


def _tightening(session: "GateSession") -> str:
    """The command that sets limits from this run; none where it does so already."""
    settings = session.settings
    if settings.update:
        return ""
    file = settings.limits or "FILE"
    if settings.replay:
        return shlex.join(["maxact", "suggest", settings.replay, "--limits", file, "--update", "all"])
    return shlex.join(["pytest", f"--maxact-model={settings.model}", f"--maxact-limits={file}", "--maxact-update=all"])
