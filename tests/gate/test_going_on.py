"""Where a measurement that is killed goes on: what a run gives it, what it says of it, and when the next process of the
run takes it up.
"""

from pathlib import Path

import pytest

from pytest_maxact.errors import MeasureError
from pytest_maxact.gate import records as under_test
from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.records import Cache, Records
from pytest_maxact.gate.sources import Source
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.measure.resume.resumption import Resumption
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings
from tests.support import records

SOURCE = Source(name="", path="checkpoint", is_record=False)
RULES = Ruleset(family="qwen3", shape=None, protocol=None, limits=())
PLAN = Plan(subjects=(Subject(source=SOURCE, title="t", rules=RULES),))
MADE = records.seen()


class Measuring:
    """In the place of a measurement, which goes on from somewhere; it dies after a bookmark where it `dies`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[Resumption | None] = []
        self.dies = False
        self.gains = False
        monkeypatch.setattr(under_test, "measure_source", self)

    def __call__(self, *args: object) -> Record:
        resumption = args[-1]
        assert resumption is None or isinstance(resumption, Resumption)
        self.given.append(resumption)
        if resumption:
            path = resumption.open("k" * 64)
            if self.gains:
                resumption.make()
                path.touch()
                resumption.written()
            resumption.remark = "went on" if path.exists() else ""
        if self.dies:
            raise Dying
        return MADE


class Dying(BaseException):
    """The process is gone."""


def process(folder: Path, meeting: Path | None = None, **settings: str) -> Records:
    cache = Cache(place=lambda: folder / "kept", make=lambda: (folder / "kept").mkdir(exist_ok=True))
    found = Records(Settings(model="checkpoint", **settings), PLAN, cache=cache)
    if meeting:
        found.meet(meeting)
    return found


def test_it_goes_on_in_the_cache_of_pytest_or_where_records_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring = Measuring(monkeypatch)
    process(tmp_path).obtain(SOURCE)
    process(tmp_path, cache=str(tmp_path / "mine")).obtain(SOURCE)
    assert [one and one.folder.name for one in measuring.given] == ["kept", "mine"]
    assert not (tmp_path / "kept").exists(), "nothing is made before there is a bookmark"


def test_it_does_not_where_that_is_off_or_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = Measuring(monkeypatch)
    process(tmp_path, resume="off").obtain(SOURCE)
    Records(Settings(model="checkpoint"), PLAN).obtain(SOURCE)
    assert measuring.given == [None, None]


def test_a_bookmark_is_gone_when_the_record_is_there_and_what_it_did_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring = Measuring(monkeypatch)
    measuring.gains = True
    run = process(tmp_path)
    run.obtain(SOURCE)
    assert run.resumed == ["went on"]
    assert not list((tmp_path / "kept").iterdir())


def test_a_measurement_that_failed_leaves_no_bookmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object) -> Record:
        resumption = args[-1]
        assert isinstance(resumption, Resumption)
        resumption.make()
        resumption.open("k" * 64).touch()
        raise MeasureError("it remembers")

    monkeypatch.setattr(under_test, "measure_source", failing)
    with pytest.raises(MeasureError):
        process(tmp_path).obtain(SOURCE)
    assert not list((tmp_path / "kept").iterdir())


def died(run: Records, meeting: Path) -> None:
    """A process that is killed while it measures: it tells nobody."""
    with pytest.raises(Dying):
        run.obtain(SOURCE)
    (meeting / f"{SOURCE.file}.failed").unlink()


def test_the_next_process_goes_on_as_long_as_something_was_gained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring, meeting = Measuring(monkeypatch), tmp_path / "meeting"
    meeting.mkdir()
    measuring.dies = measuring.gains = True
    for _ in range(3):
        died(process(tmp_path, meeting), meeting)
    measuring.dies = False
    first, second = process(tmp_path, meeting), process(tmp_path, meeting)
    assert first.obtain(SOURCE) is MADE
    assert second.obtain(SOURCE) == MADE
    assert len(measuring.given) == 4
    assert first.resumed == second.resumed == ["went on"]


def test_who_died_without_a_gain_is_not_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring, meeting = Measuring(monkeypatch), tmp_path / "meeting"
    meeting.mkdir()
    measuring.dies = measuring.gains = True
    died(process(tmp_path, meeting), meeting)
    measuring.gains = False
    died(process(tmp_path, meeting), meeting)
    measuring.dies = False
    with pytest.raises(MeasureError, match="the process that measured it died"):
        process(tmp_path, meeting).obtain(SOURCE)
    assert len(measuring.given) == 2
