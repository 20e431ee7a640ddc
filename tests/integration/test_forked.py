"""Checks that each run in a forked process, as pytest-forked has it, share one measurement, and the run that forked
them tells what was found.
"""

import sys
from pathlib import Path

import pytest

from tests.support.gate_runs import CHECKS, loads, run_gate

FORKED = """
import os
import pickle
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

import pytest_maxact.gate.records as records

measure = records.measure_source


def counted(*args):
    with open(Path(__file__).parent / "loads.txt", "a") as file:
        file.write("load\\n")
    return measure(*args)


records.measure_source = counted


def pytest_addoption(parser):
    parser.addoption("--forked", action="store_true", default=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    if not item.config.getoption("forked"):
        return None
    place = Path(__file__).parent / "reports"
    if (child := os.fork()) == 0:
        try:
            place.write_bytes(pickle.dumps([report._to_json() for report in runtestprotocol(item, log=False)]))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    for one in pickle.loads(place.read_bytes()):
        item.ihook.pytest_runtest_logreport(report=pytest.TestReport._from_json(one))
    item.session._setupstate.teardown_exact(nextitem)
    return True
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")


def test_they_share_one_measurement_and_the_report_has_it(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    pytester.makeconftest(FORKED)
    options = (f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "--forked")
    run_gate(pytester, *options, subprocess=True, exit=0, passed=CHECKS, says=[f"all {CHECKS} checks hold"])
    assert loads(pytester.path / "loads.txt") == {"load": 1}


def test_a_breach_found_in_one_is_a_breach_of_the_run(pytester: pytest.Pytester, saved: Path, tight: Path) -> None:
    pytester.makeconftest(FORKED)
    options = (f"--maxact-replay={saved}", f"--maxact-limits={tight}", "--forked", "-k", "max_abs and hidden")
    counts = {"failed": 1, "passed": 5, "deselected": CHECKS - 6}
    run_gate(pytester, *options, subprocess=True, exit=1, says=["FAIL: 1 of 6 checks"], **counts)
