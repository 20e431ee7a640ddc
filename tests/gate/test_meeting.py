"""Processes of one run that cannot leave each other anything: each is told why, and nothing passes."""

from pathlib import Path

import pytest

from pytest_maxact.errors import MeasureError
from pytest_maxact.gate import records as under_test
from pytest_maxact.gate.ledger import Found, Ledger
from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.records import Records
from pytest_maxact.gate.sources import Source
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.settings.settings import Settings
from tests.support import records
from tests.support.disk import without_room

SOURCE = Source(name="", path="checkpoint", is_record=False)
RULES = Ruleset(family="qwen3", shape=None, protocol=None, limits=())
PLAN = Plan(subjects=(Subject(source=SOURCE, title="t", rules=RULES),))
SAID = (
    "what the processes of this run share cannot be written in {}: No space left on device\n"
    "  free space there, or let TMPDIR name a folder that has some"
)


@pytest.mark.parametrize(
    ("parts", "measured"), [(("begun",), 0), (("safetensors",), 1), (("safetensors", "failed"), 2)], ids=str
)
def test_whoever_asks_for_a_record_is_told_that_there_is_no_room_for_it(
    parts: tuple[str, ...], measured: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where not even the failure can be told, the next process comes to it by itself."""
    times: list[None] = []
    monkeypatch.setattr(under_test, "measure_source", lambda *args: times.append(None) or records.seen())
    without_room(monkeypatch, *parts)
    for _ in range(2):
        run = Records(Settings(model="checkpoint"), PLAN)
        run.meet(tmp_path)
        with pytest.raises(MeasureError) as failure:
            run.obtain(SOURCE)
        assert str(failure.value) == SAID.format(tmp_path)
        assert run.failure(SOURCE) == str(failure.value)
    assert len(times) == measured


def test_what_was_found_of_a_check_and_cannot_be_told_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, other = Ledger(), Ledger()
    ledger.meet(tmp_path)
    other.meet(tmp_path)
    without_room(monkeypatch, "ledger-")
    with pytest.raises(MeasureError) as failure:
        ledger.note("maxact::embedding::max_abs", Found.HELD)
    assert str(failure.value) == SAID.format(tmp_path)
    assert other.entry("maxact::embedding::max_abs") is None
