"""The Records of a run: each had once, a failure remembered and told to the other processes, and nothing measured by
who only asks what is there.
"""

from pathlib import Path

import pytest

from pytest_maxact.errors import InputError, MaxactError, MeasureError, marked, setting
from pytest_maxact.gate import records as under_test
from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.records import Cache, Records
from pytest_maxact.gate.sources import Source
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.measure.store import Store
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings
from tests.support import records

SOURCE = Source(name="", path="checkpoint", is_record=False)
RULES = Ruleset(family="qwen3", shape=None, protocol=None, limits=())
PLAN = Plan(subjects=(Subject(source=SOURCE, title="t", rules=RULES),))
MADE = records.seen()


class Measuring:
    """In the place of a measurement: what it gives, and how often it was asked."""

    def __init__(self, given: Record | BaseException) -> None:
        self.given, self.times = given, 0

    def __call__(self, *args: object) -> Record:
        self.times += 1
        if isinstance(self.given, BaseException):
            raise self.given
        return self.given


def measuring(monkeypatch: pytest.MonkeyPatch, given: Record | BaseException) -> Measuring:
    found = Measuring(given)
    monkeypatch.setattr(under_test, "measure_source", found)
    return found


def process(folder: Path | None = None) -> Records:
    """The Records of one process of a run, which meets others in `folder`."""
    found = Records(Settings(model="checkpoint"), PLAN)
    if folder is not None:
        found.meet(folder)
    return found


def there(folder: Path) -> Cache:
    return Cache(place=lambda: folder, make=lambda: folder)


def test_what_was_measured_is_had_again(monkeypatch: pytest.MonkeyPatch) -> None:
    measured, run = measuring(monkeypatch, MADE), process()
    assert run.known(SOURCE) is None
    assert not run.is_settled(SOURCE)
    assert run.obtain(SOURCE) is run.obtain(SOURCE) is run.known(SOURCE) is MADE
    assert measured.times == 1
    assert run.is_settled(SOURCE)
    assert run.failure(SOURCE) is None


@pytest.mark.parametrize("met", [False, True])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MeasureError(f"lacks a tensor\n  give {setting('model')}"), f"lacks a tensor\n  give {setting('model')}"),
        (RuntimeError("out of memory\nat line 3"), "the measurement ended in RuntimeError: out of memory"),
        (KeyboardInterrupt(), "the measurement ended in KeyboardInterrupt: KeyboardInterrupt"),
    ],
)
def test_a_failure_is_remembered_and_not_tried_again(
    met: bool, error: BaseException, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measured, run = measuring(monkeypatch, error), process(tmp_path if met else None)
    with pytest.raises(type(error)):
        run.obtain(SOURCE)
    with pytest.raises(MaxactError) as again:
        run.obtain(SOURCE)
    assert marked(again.value) == run.failure(SOURCE) == words
    assert run.is_settled(SOURCE)
    assert run.known(SOURCE) is None
    assert measured.times == 1


def test_the_processes_of_a_run_measure_once_between_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured, first, second, third = (
        measuring(monkeypatch, MADE),
        process(tmp_path),
        process(tmp_path),
        process(tmp_path),
    )
    assert first.obtain(SOURCE) == second.obtain(SOURCE) == third.known(SOURCE) == MADE
    assert measured.times == 1


def test_a_failure_is_told_to_the_other_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured, first, second, third = (
        measuring(monkeypatch, RuntimeError("broken")), process(tmp_path), process(tmp_path), process(tmp_path)
    )  # fmt: skip
    with pytest.raises(RuntimeError):
        first.obtain(SOURCE)
    with pytest.raises(MeasureError, match="the measurement ended in RuntimeError: broken"):
        second.obtain(SOURCE)
    assert third.failure(SOURCE) == "the measurement ended in RuntimeError: broken"
    assert third.is_settled(SOURCE)
    assert measured.times == 1
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_record_that_cannot_be_put_in_place_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measuring(monkeypatch, MADE)

    def full(record: Record, path: Path) -> None:
        raise InputError("no space left")

    monkeypatch.setattr(under_test, "save", full)
    with pytest.raises(InputError, match="no space left"):
        process(tmp_path).obtain(SOURCE)
    assert process(tmp_path).failure(SOURCE) == "no space left"


def test_what_a_process_died_of_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured, first, second, third = measuring(monkeypatch, MADE), *(process(tmp_path) for _ in range(3))

    def died(record: Record, path: Path) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(under_test, "save", died)
        patch.setattr(under_test, "write_whole", lambda path, content: None)  # a killed process tells nothing
        with pytest.raises(SystemExit):
            first.obtain(SOURCE)
    for later in (second, third):
        with pytest.raises(MeasureError, match="the process that measured it died"):
            later.obtain(SOURCE)
    assert measured.times == 1
    assert str(process(tmp_path).failure(SOURCE)).startswith("the process that measured it died")


SERIES = Plan(
    subjects=tuple(
        Subject(source=Source(name=name, path=name, is_record=False), title=name, rules=RULES) for name in ("a", "b")
    )
)


def test_a_cache_that_nobody_asked_for_and_that_cannot_be_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def cannot() -> Path:
        raise PermissionError(13, "Permission denied", str(tmp_path / "maxact"))

    measured = measuring(monkeypatch, MADE)
    run = Records(Settings(model="x-*"), SERIES, cache=Cache(place=lambda: tmp_path / "maxact", make=cannot))
    assert run.obtain(SERIES.subjects[0].source) is MADE
    assert run.unkept == f"the cache of pytest cannot be written in {tmp_path} (Permission denied)"
    (tmp_path / "kept").mkdir(mode=0o555)
    run = Records(Settings(model="x-*"), SERIES, cache=there(tmp_path / "kept"))
    assert run.obtain(SERIES.subjects[0].source) is MADE
    assert "may not be written" in run.unkept
    assert Records(Settings(model="x-*"), SERIES, cache=there(tmp_path)).unkept == ""
    assert measured.times == 2


def test_a_cache_that_was_asked_for_and_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir(mode=0o555)
    run = Records(Settings(model="x-*", cache=str(tmp_path / "kept")), SERIES)
    with pytest.raises(InputError, match=r"`cache` .*kept: may not be written"):
        run.obtain(SERIES.subjects[0].source)
    assert run.unkept == ""


def test_what_cannot_be_saved_is_had_and_told_to_every_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured = measuring(monkeypatch, MADE)
    settings = Settings(model="x-*", save=str(tmp_path / "gone" / "out"))
    first, second = Records(settings, SERIES), Records(settings, SERIES)
    (meeting := tmp_path / "meeting").mkdir()
    for run in (first, second):
        run.meet(meeting)
    for subject in SERIES.subjects:
        assert first.obtain(subject.source) == second.obtain(subject.source) == MADE
        assert first.failure(subject.source) is second.failure(subject.source) is None
    assert first.unsaved == second.unsaved
    assert len(first.unsaved) == measured.times == 2
    for name, told in zip("ab", first.unsaved, strict=True):
        assert told.startswith(f"cannot write the Record to {tmp_path / 'gone' / 'out' / name}.maxact.safetensors: No ")
        assert told.endswith("\n  give a path in a folder that exists and may be written")
    (tmp_path / "gone").mkdir()
    assert Records(settings, SERIES).obtain(SERIES.subjects[0].source) is MADE
    assert Records(settings, SERIES).unsaved == []
    assert [path.name for path in (tmp_path / "gone" / "out").iterdir()] == ["a.maxact.safetensors"]


@pytest.mark.parametrize("asked", [True, False])
def test_a_cache_that_fills_up_costs_no_measurement(
    asked: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that was asked for is a fault of the run; one that was not is told."""

    def filled(source: Source, run: Settings, rules: object, prepared: object, store: Store, *rest: object) -> Record:
        store.unkept = "no room\n  free space"
        return MADE

    monkeypatch.setattr(under_test, "measure_source", filled)
    settings = Settings(model="x-*", cache=str(tmp_path) if asked else None)
    run = Records(settings, SERIES, cache=there(tmp_path))
    assert [run.obtain(subject.source) for subject in SERIES.subjects] == [MADE, MADE]
    assert run.unsaved == (["no room\n  free space"] if asked else [])
    assert run.unkept == ("" if asked else "no room")
