"""A report that says something else of a check than the gate found, put right before pytest, JUnit and the terminal
read it: turned into a pass or an expected failure, or a skip of what takes none.
"""

from typing import TYPE_CHECKING

import pytest

from pytest_maxact.errors import message
from pytest_maxact.settings.option import pytest_option

if TYPE_CHECKING:
    from pytest_maxact.gate.ledger import Entry


def put_right(report: pytest.TestReport, entry: "Entry | None") -> str:
    """Make a report say what the ledger does; what it said before, empty where it was right. A failure stays one."""
    from pytest_maxact.gate.ledger import Found

    said = "xfailed" if hasattr(report, "wasxfail") else str(report.outcome)
    if said in ("failed", "rerun") or report.when == "teardown":
        return ""
    if entry is None:
        if report.when == "setup" and said == "passed":
            return ""
        why = f": {report.longrepr[2]}" if isinstance(report.longrepr, tuple) else ""
        _fail(report, f"was not judged, and something outside of the gate let it be reported as {said}{why}")
        return said
    if entry.found.stands_in_the_way and (report.when == "call" or entry.found is Found.UNKNOWN):
        words = message(entry.words, pytest_option)
        _fail(report, f"{words}\nsomething outside of the gate let this be reported as {said}")
        return said
    if entry.found is Found.HELD and said != "passed":
        report.outcome, report.longrepr = "passed", None
        _forget(report)
        return said
    return ""


def _fail(report: pytest.TestReport, words: str) -> None:
    report.outcome, report.longrepr = "failed", words
    _forget(report)


def _forget(report: pytest.TestReport) -> None:
    if hasattr(report, "wasxfail"):
        del report.wasxfail
