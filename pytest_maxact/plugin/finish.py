"""The end of a run: whether every check was judged, or left out by the user, and what becomes of the exit status.

Guards that what the report says, the exit status and JUnit never differ: a run that asked for a gate and was kept from
it ends as one that failed, whoever kept it.
"""

import sys
from typing import TYPE_CHECKING

import pytest

from pytest_maxact.errors import MaxactError, marked, message, one_line
from pytest_maxact.numbers.counted import counted
from pytest_maxact.plugin.ended import signal_key
from pytest_maxact.plugin.ids import is_own
from pytest_maxact.settings.option import pytest_option
from pytest_maxact.settings.places import expanded

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.gate.stating import VerdictFile
    from pytest_maxact.judge.outcome import Outcome

COMPLETE = "maxact::every-check-was-run"
"""The id under which a run is reported of which some checks were not."""

failed_key = pytest.StashKey[set[str]]()
"""Ids of the gate's own that pytest was told failed."""

outcome_key: "pytest.StashKey[Outcome | None]" = pytest.StashKey()
trouble_key = pytest.StashKey[list[str]]()
"""What went wrong besides, in lines."""

_passed_key = pytest.StashKey[bool]()
_verdict_key: "pytest.StashKey[VerdictFile]" = pytest.StashKey()


def begin_verdict(config: pytest.Config, path: str, about: str | None) -> None:
    """Before anything else of the run, so that no verdict of an earlier one is left where this one fails. Raises
    InputError.
    """
    from pytest_maxact.gate.stating import VerdictFile
    from pytest_maxact.plugin.typed import typed

    if _verdict_key not in config.stash and not typed(config).looks:
        config.stash[_verdict_key] = VerdictFile(expanded(path), about)


def note_opened(config: pytest.Config, gate: "GateSession") -> None:
    if _verdict_key in config.stash:
        config.stash[_verdict_key].opened(gate)


def write_verdict(session: pytest.Session, gate: "GateSession") -> None:
    """Last of all. A run whose verdict cannot be written has failed."""
    stash = session.config.stash
    if _verdict_key not in stash:
        return
    try:
        outcome, troubles = stash.get(outcome_key, None), stash.get(trouble_key, list[str]())
        said = stash[_verdict_key].finish(gate, outcome, troubles, pytest_option)
    except (MaxactError, ValueError, OSError) as error:
        fail_late(session.config, f"the verdict was not written: {marked(error)}")
        print(f"maxact: the verdict was not written: {message(marked(error), pytest_option)}", file=sys.stderr)
        return
    if session.config.get_verbosity() >= 0:
        print(one_line(f"maxact: {said}"))


def fail_late(config: pytest.Config, why: str) -> None:
    """What failed a run when its outcome was put together, and its files were written."""
    from pytest_maxact.plugin.junit import add_late

    if config.stash.get(_passed_key, False):
        add_late(config, why)
    config.stash[_passed_key] = False


def close(session: pytest.Session, gate: "GateSession", stopped: bool) -> None:
    """When the last check has run, or what broke the run off: report what was kept from running, as a failure that
    pytest, JUnit and the terminal count like any other.
    """
    missing, ledger = _missing(session.config, gate), gate.ledger
    broken = any(entry.found.stands_in_the_way for entry in ledger.entries.values()) or ledger.changed
    if missing and not stopped:
        report = pytest.TestReport(
            nodeid=COMPLETE,
            location=("maxact", None, COMPLETE),
            keywords={},
            outcome="failed",
            longrepr=_not_run(missing),
            when="call",
        )
        session.config.hook.pytest_runtest_logreport(report=report)
    if (missing or broken) and not session.testsfailed:
        session.testsfailed = 1


def conclude_run(session: pytest.Session, gate: "GateSession") -> None:
    """Put the outcome together, and let the exit status follow it."""
    from pytest_maxact.gate.conclude import Reported, conclude
    from pytest_maxact.plugin.files import write_reports
    from pytest_maxact.plugin.junit import complete
    from pytest_maxact.plugin.section import tightening

    config, ledger = session.config, gate.ledger
    failed = config.stash.get(failed_key, set()) - {COMPLETE}
    missing = _missing(config, gate)
    run = ledger.entries.keys() | (failed - set(missing))
    seen = Reported(run=run, failed=failed & run, troubles=_troubles(session, gate, missing))
    config.stash[outcome_key], passed = None, False
    try:
        config.stash[outcome_key] = conclude(gate, seen, tightening(gate))
    except (MaxactError, ValueError, OSError) as error:
        what = message(marked(error), pytest_option)
        config.stash.setdefault(trouble_key, []).append(f"the outcome could not be put together ({what})")
    outcome, troubles = write_reports(config, gate, config.stash[outcome_key], config.stash.get(trouble_key, []))
    config.stash[outcome_key], config.stash[trouble_key] = outcome, troubles
    if outcome is not None:
        passed = not outcome.faults and not (outcome.verdict and outcome.verdict.breaches)
    config.stash[_passed_key] = passed
    complete(config, gate, outcome, troubles)
    enforce(session)


def enforce(session: pytest.Session) -> None:
    """No run whose gate failed ends as one that passed, whatever was made of its exit status."""
    session.exitstatus = ending(session.config, session.exitstatus)


def ending(config: pytest.Config, status: int) -> int | pytest.ExitCode:
    """The exit status of a run, given the one that it would have."""
    would_pass = int(status) in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    return pytest.ExitCode.TESTS_FAILED if would_pass and not config.stash.get(_passed_key, False) else status


def end(config: pytest.Config, status: int | pytest.ExitCode | None) -> int | pytest.ExitCode:
    """The last word, when the session is over: what raised, exited or set a status since does not make it pass."""
    given = pytest.ExitCode.OK if status is None else status
    decided = ending(config, int(given))
    if int(decided) == int(given):
        return given
    if _passed_key not in config.stash:
        print("maxact: a gate was asked for, and the run ended before it: nothing was checked", file=sys.stderr)
    return decided


def note_report(config: pytest.Config, report: pytest.TestReport) -> None:
    if report.failed and is_own(report.nodeid):
        config.stash.setdefault(failed_key, set()).add(report.nodeid)


def _missing(config: pytest.Config, gate: "GateSession") -> tuple[str, ...]:
    """Items that were kept from being judged: neither run, nor left out by the user, nor broken off by a failure."""
    from pytest_maxact.gate.ledger import unaccounted

    broken = config.stash.get(failed_key, set()) - gate.ledger.changed.keys()
    return unaccounted(gate.plan.ids, gate.ledger, broken)


def _not_run(missing: tuple[str, ...]) -> str:
    return (
        f"{counted(len(missing), 'check', 'was', 'were')} neither run nor deselected on the command line, the first"
        f" {missing[0]}\n"
        "  addopts, a conftest or another plugin kept them from it; deselect what is not to run where pytest is "
        "called, with -k, -m, --deselect or ids"
    )


def _troubles(session: pytest.Session, gate: "GateSession", missing: tuple[str, ...]) -> list[str]:
    troubles = session.config.stash.get(trouble_key, list[str]()).copy()
    stopped = session.shouldfail or session.shouldstop
    if session.exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR):
        by = session.config.stash.get(signal_key, "")
        troubles.insert(0, f"the run was broken off before its end{f', by {by}' if by else ''}")
    elif missing:
        troubles.insert(
            0, f"{counted(len(missing), 'check', 'was', 'were')} not run: {stopped}" if stopped else _not_run(missing)
        )
    changed = gate.ledger.changed
    if told := [name for name in changed if name in gate.ledger.entries]:
        troubles.append(
            f"{counted(len(told), 'report', 'of a check was', 'of checks were')} changed by something outside of the"
            f" gate, the first said"
            f" {changed[told[0]]!r} of {told[0]}; what the gate found stands"
        )
    return troubles
