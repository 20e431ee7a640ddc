"""A check of all weights that fails tells of every tensor at fault by a report of its own, as a subtest does: which
there are is known only when the files were read. It counts, is shown, and reaches JUnit and the exit status like a
check that was collected.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import pytest

from pytest_maxact.gate.ledger import Found
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.plugin.fixtures import session_key
from pytest_maxact.report.data.properties import properties_of

_OWN = "maxact_check"
_told_key = pytest.StashKey[set[str]]()


def report_tensors(item: pytest.Item, node: str, findings: Iterable[Finding]) -> None:
    """Report each finding as a check below `node`, while `item` runs, and once however often it does. What was found
    goes into the ledger before.
    """
    told = item.stash.setdefault(_told_key, set())
    for finding in findings:
        name = f"{node}::{finding.limit.check}"
        if name in told:
            continue
        told.add(name)
        item.config.stash[session_key].ledger.note(name, found_of(finding), finding.message)
        where, line, _ = item.location
        about = f"{finding.limit.name} of {finding.limit.site}"
        report = pytest.TestReport(
            nodeid=name,
            location=(where, line, about),
            keywords={"maxact": 1},
            outcome="skipped" if finding.waiver else "failed",
            longrepr=(where, line or 0, finding.message) if finding.waiver else finding.message,
            when="call",
            user_properties=properties_of(finding.limit, finding),
        )
        if finding.waiver:
            report.wasxfail = f"{finding.waiver.words}; {finding.message}"
        if hasattr(item.config, "workerinput"):
            # xdist wants of a worker reports of the item that runs, and of no other
            setattr(report, _OWN, name)
            report.nodeid = item.nodeid
        else:
            item.session.testscollected += 1
        capture: Any = item.config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            item.ihook.pytest_runtest_logreport(report=report)


def put_right(config: pytest.Config, data: dict[str, Any]) -> None:
    """What a worker sent of such a report under the id of the item that ran gets its own id again."""
    if own := data.pop(_OWN, None):
        data["nodeid"] = own
        reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter._session.testscollected += 1


def found_of(finding: Finding) -> Found:
    """What the ledger holds of a check."""
    return Found.WAIVED if finding.waiver else Found.HELD if finding.passed else Found.BREACH
