"""Limits written from what a run measured, and what is said of it."""

from pathlib import Path

import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.gate.session import GateSession, open_session
from pytest_maxact.gate.updating import update
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.verdict.verdict import verdict
from pytest_maxact.record.file import load, save
from pytest_maxact.settings.settings import Settings
from tests.support import records

HOUSE = "version: 1\nprotocol: paper\nfamilies:\n  qwen3: {model_types: [qwen3], limits: {hidden: 0.5}}\n"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(records.seen(), "a.safetensors")


def run(update: str, loosen: bool = False) -> GateSession:
    """Of one Record, and of limits of its own where there are some."""
    return open_session(Settings(replay="a.safetensors", limits="mine.yaml", update=update, loosen=loosen))


def updated(session: GateSession) -> list[str]:
    return update(session.settings, session.plan, session.records, session.judging)


def test_limits_written_are_shown_and_hold_what_they_were_written_from() -> None:
    lines = updated(run("new"))
    assert lines[:2] == ["--- /dev/null", "+++ mine.yaml"]
    assert lines[-1] == "mine.yaml: written; review it, and commit it"
    assert all(finding.accepted for finding in verdict(load("a.safetensors"), load_limits(Path("mine.yaml"))))


def test_a_second_time_there_is_nothing_to_change() -> None:
    updated(run("new"))
    written = Path("mine.yaml").read_bytes()
    assert updated(run("all")) == ["mine.yaml: nothing to change"]
    assert Path("mine.yaml").read_bytes() == written


def test_limits_that_accept_what_the_run_failed_are_remarked() -> None:
    Path("mine.yaml").write_text(HOUSE)
    with pytest.raises(InputError, match=r"would not pass mine\.yaml; nothing was written"):
        updated(run("all"))
    session = run("all", loosen=True)
    failed = sum(not finding.accepted for finding in session.judging.every(session.plan.latest))
    assert failed
    lines = updated(session)
    assert lines[0].startswith("LOOSENED: hidden 0.5 -> 10 ")
    assert lines[-2:] == [
        "mine.yaml: written; review it, and commit it",
        f"note: {failed} checks of this run did not hold, and these limits accept what it measured",
    ]


def test_a_run_that_measured_nothing_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    session = run("new")
    monkeypatch.setattr(session.records, "known", lambda source: None)
    with pytest.raises(MeasureError, match="nothing was measured, so there is no evidence for limits"):
        updated(session)
    assert not Path("mine.yaml").exists()


def test_a_broken_checkpoint_is_no_evidence() -> None:
    save(records.seen(float("inf")), "a.safetensors")
    with pytest.raises(InputError):
        updated(run("all"))
    assert not Path("mine.yaml").exists()
