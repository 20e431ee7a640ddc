"""Around pytest's own summary: reports of checks of which the outcome names the cause are told there in a line each,
and the verdict comes behind it, where a person looks last. It reports, and judges nothing.
"""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_maxact.errors import message
from pytest_maxact.gate.ledger import Found
from pytest_maxact.plugin.ids import is_own
from pytest_maxact.plugin.section import write_closing
from pytest_maxact.settings.option import pytest_option

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.judge.outcome import Outcome

_SHOWN = ("error", "failed")
"""What pytest shows in full, by its own names."""
_aside_key = pytest.StashKey[dict[str, list[pytest.TestReport]]]()


class Closing:
    """Registered where a gate was opened, in the process that the user started."""

    def __init__(self, gate: "GateSession") -> None:
        self._gate = gate

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> Generator[None]:
        from pytest_maxact.plugin.finish import outcome_key, trouble_key
        from pytest_maxact.plugin.typed import typed

        if typed(config).looks:
            return (yield)
        outcome: Outcome | None = config.stash.get(outcome_key, None)
        if outcome is not None:
            _set_aside(terminalreporter, config, self._gate, outcome)
        try:
            return (yield)
        finally:
            put_back(terminalreporter, config)
            troubles: list[str] = config.stash.get(trouble_key, [])
            write_closing(terminalreporter, outcome, troubles)


def put_back(reporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Before pytest's short summary, which has a line for each of them."""
    aside: dict[str, list[pytest.TestReport]] = config.stash.get(_aside_key, {})
    reporter.stats.update(aside)
    config.stash[_aside_key] = {}


def _set_aside(
    reporter: pytest.TerminalReporter, config: pytest.Config, gate: "GateSession", outcome: "Outcome"
) -> None:
    """Keep pytest from showing under ERRORS and FAILURES what would be the same line once more for every check."""
    causes = [message(fault, pytest_option) for fault in outcome.faults]
    config.stash[_aside_key] = aside = {name: reporter.stats[name] for name in _SHOWN if name in reporter.stats}
    for name, reports in aside.items():
        told = set(map(id, _told_once(reports, gate, causes)))
        reporter.stats[name] = [report for report in reports if id(report) not in told]


def _told_once(reports: list[pytest.TestReport], gate: "GateSession", causes: list[str]) -> Iterator[pytest.TestReport]:
    """Reports in a line, of a check that could not be judged, the cause of which stands in the outcome."""
    for report in reports:
        entry = gate.ledger.entry(report.nodeid) if is_own(report.nodeid) else None
        if entry is None or entry.found is not Found.UNKNOWN or "\n" in str(report.longrepr).strip():
            continue
        cause = message(entry.words, pytest_option).removeprefix("could not measure: ")
        if any(cause in told for told in causes):
            yield report
