"""A process that dies while it measures, as a worker of xdist: those that wait for it are told within seconds."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_maxact.errors import MeasureError
from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.records import Records
from pytest_maxact.gate.sources import Source
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.measure.once import locked
from pytest_maxact.settings.settings import Settings

SOURCE = Source(name="", path="checkpoint", is_record=False)
PLAN = Plan(subjects=(Subject(source=SOURCE, title="t", rules=Ruleset(
    family="qwen3", shape=None, protocol=None, limits=())),))  # fmt: skip
MEASURING = """
import sys, time
from pathlib import Path
from pytest_maxact.gate import records
from pytest_maxact.measure.once import locked
from tests.gate.test_worker_death import SOURCE, waiting

folder = Path(sys.argv[1])
with locked(folder / "pace.lock"):
    (folder / "holding").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    released = time.time()

def measure_source(*args):
    (folder / "measuring").write_text(str(released))
    time.sleep(600)

records.measure_source = measure_source
waiting(folder).obtain(SOURCE)
"""
"""Holds a lock, gives it back in good order, and then measures without an end."""


def waiting(folder: Path) -> Records:
    found = Records(Settings(model="checkpoint"), PLAN)
    found.meet(folder)
    return found


def until(path: Path, patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} did not come"
        time.sleep(0.01)


def told(folder: Path) -> float:
    """When one of those that wait was told."""
    with pytest.raises(MeasureError, match="the process that measured it died"):
        waiting(folder).obtain(SOURCE)
    return time.time()


def got(lock: Path) -> float:
    """When one of those that wait for a lock has it."""
    with locked(lock):
        return time.time()


def test_the_death_of_who_measures_is_told_to_all_that_wait_as_fast_as_locks_change_hands(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", MEASURING, str(tmp_path)], cwd=Path(__file__).parents[2])
    try:
        with ThreadPoolExecutor(4) as threads:
            until(tmp_path / "holding")
            hands = [threads.submit(got, tmp_path / "pace.lock") for _ in range(3)]
            time.sleep(0.2)
            (tmp_path / "go").touch()
            until(tmp_path / "measuring")
            pace = max(hand.result() for hand in hands) - float((tmp_path / "measuring").read_text())
            waiters = [threads.submit(told, tmp_path) for _ in range(3)]
            time.sleep(0.2)
            assert not any(waiter.done() for waiter in waiters)
            died = time.time()
            os.kill(child.pid, signal.SIGKILL)
            assert max(waiter.result() for waiter in waiters) - died < 2.0 + 10 * pace
    finally:
        child.kill()
        child.wait()
