"""The section at the end of a pytest run, and the verdict behind it. Reporting never breaks a run, and never measures:
what cannot be shown is said in one line.
"""

import shlex
from typing import TYPE_CHECKING

from pytest_maxact.errors import MaxactError, marked, message, one_line, setting
from pytest_maxact.numbers.counted import counted
from pytest_maxact.report.terminal.brief import render_brief
from pytest_maxact.report.terminal.closing import render_closing, says_all
from pytest_maxact.report.terminal.outcome import render_outcome
from pytest_maxact.report.terminal.screen import Screen
from pytest_maxact.settings.option import pytest_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.judge.outcome import Outcome


def write_summary(reporter: "pytest.TerminalReporter", outcome: "Outcome | None") -> None:
    """The outcome of the run, as pytest's terminal shows it, but for what the end of it says anyway; nothing where the
    run is to be quiet.
    """
    if outcome is None or not outcome.ran or reporter.verbosity < 0 or says_all(outcome, screen := _screen(reporter)):
        return
    try:
        text = render_outcome(outcome, screen)
    except (MaxactError, ValueError, OSError) as error:
        what = message(marked(error), pytest_option)
        reporter.write_line(f"maxact: the report could not be shown ({what}); the checks above stand")
        return
    reporter.section("maxact", sep="=")
    reporter.write(text + "\n")


def write_closing(reporter: "pytest.TerminalReporter", outcome: "Outcome | None", troubles: "Sequence[str]") -> None:
    """Last of all, the verdict. `troubles`: why there is no outcome."""
    if outcome is None:
        for trouble in troubles:
            reporter.write_line(f"maxact: {message(trouble, pytest_option)}", red=True)
    elif not outcome.ran:
        _write_nothing_ran(reporter, outcome)
    elif reporter.verbosity < 0:
        reporter.write(render_brief(outcome, _screen(reporter), "maxact: ") + "\n")
    elif text := render_closing(outcome, _screen(reporter)):
        reporter.section("maxact: the verdict", sep="=")
        reporter.write(text + "\n")


def _write_nothing_ran(reporter: "pytest.TerminalReporter", outcome: "Outcome") -> None:
    latest = outcome.checkpoints[-1]
    what = f"{len(outcome.checkpoints)} checkpoints" if latest.name else latest.title
    said = f"maxact: none of the {counted(outcome.checks, 'check')} of {what} was run"
    reporter.write_line(one_line(said), yellow=True)
    for fault in outcome.faults:
        reporter.write_line(f"maxact: {message(fault, pytest_option)}", red=True)


def _screen(reporter: "pytest.TerminalReporter") -> Screen:
    writer = reporter._tw
    encoding = str(getattr(writer._file, "encoding", None) or "ascii")
    return Screen(
        width=writer.fullwidth, color=writer.hasmarkup, encoding=encoding, words=pytest_option,
        whole=reporter.verbosity > 0,
    )  # fmt: skip


def tightening(session: "GateSession") -> str:
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
        f"the same command with {setting('limits')}={shlex.quote(file)} {setting('update')}=all; for every site, maxact"
        " suggest --per-layer"
    )
