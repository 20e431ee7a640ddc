"""A bookmark is read as it was written or not at all, is written when it costs little, and never stands for what a
measurement that failed has seen.
"""

import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.reduction import Entry, How
from pytest_maxact.measure.observe.state import state_of
from pytest_maxact.measure.resume import bookmarks as policy
from pytest_maxact.measure.resume.bookmark import Stage, UnusableError, read, write
from pytest_maxact.measure.resume.bookmarks import Bookmarks
from pytest_maxact.measure.resume.resumption import Resumption, until_safe
from tests.support import tiny
from tests.support.measuring import encoded

LENGTHS = [9, 14, 5, 17, 11, 7, 13, 6]


def stages() -> dict[str, Stage]:
    shared = torch.arange(5, dtype=torch.int64)
    state = {
        "counts/a/b": Entry(shared, How.SUM), "again": Entry(shared, How.SUM),
        "channels": Entry(torch.tensor([1.5, math.nan, math.inf], dtype=torch.bfloat16), How.MAX),
        "peaks": Entry([{"value": math.nan, "sample": "é/\n"}], How.LARGEST), "none": Entry(None, How.FIRST),
        "empty": Entry(torch.zeros(0), How.MAX),
    }  # fmt: skip
    return {"one/": Stage(state=state, left={"next": 3}), "other": Stage(state=state, left={})}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "mark", "key", stages())
    found = read(tmp_path / "mark", "key")
    assert list(found) == ["one/", "other"]
    for name, stage in stages().items():
        assert found[name].left == stage.left
        for entry, held in stage.state.items():
            other = found[name].state[entry]
            assert other.how is held.how
            assert repr(other.value) == repr(held.value)
            assert getattr(other.value, "dtype", None) == getattr(held.value, "dtype", None)
    assert [path.name for path in tmp_path.iterdir()] == ["mark"]


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    write(mark, "key", stages())
    whole = mark.read_bytes()
    for place in range(0, len(whole), 7):
        mark.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UnusableError):
            read(mark, "key")
    for end in (0, 7, 100, len(whole) - 1):
        mark.write_bytes(whole[:end])
        with pytest.raises(UnusableError):
            read(mark, "key")


def test_what_is_of_something_else_is_not_gone_on_from(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "mark", "key")
    write(tmp_path / "mark", "key", stages())
    with pytest.raises(UnusableError, match="of another measurement"):
        read(tmp_path / "mark", "other")
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(3)}, tmp_path / "weights")
    with pytest.raises(UnusableError, match="no bookmark"):
        read(tmp_path / "weights", "key")


def test_one_that_cannot_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mark", "key", {"one": stages()["other"]})
    monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError("No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "mark", "key", stages())
    assert list(read(tmp_path / "mark", "key")) == ["one"]
    assert [path.name for path in tmp_path.iterdir()] == ["mark"]


class Clock:
    """Seconds, of which a batch takes `batch` and writing a bookmark `writing`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, writing: float) -> None:
        self.now, self.writing, self.written = 0.0, writing, list[float]()
        monkeypatch.setattr(policy, "write", self.write)

    def __call__(self) -> float:
        return self.now

    def write(self, *args: Any) -> None:
        self.written.append(self.now)
        self.now += self.writing


@pytest.mark.parametrize("check", [0.0, 2.0])
@pytest.mark.parametrize(("writing", "batch"), [(0.001, 0.1), (0.2, 0.5), (3.0, 0.01), (0.5, 700.0)])
def test_bookmarks_cost_a_hundredth_of_the_time_at_most(
    writing: float, batch: float, check: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, writing)
    marks = Bookmarks(Resumption(tmp_path), {}, clock=clock)

    def checked() -> None:
        clock.now += check

    while clock.now < 2000.0:
        clock.now += batch
        marks.offer("corpus", lambda: stages()["other"], checked, check)
    assert clock.written[0] >= max(policy.NOT_BEFORE, check / policy.SHARE)
    spent, one = (writing + check) * len(clock.written), writing + check
    assert spent - writing <= policy.SHARE * clock.now, "all but the first writing, whose cost nobody knew"
    assert len(clock.written) >= min(0.8 * policy.SHARE * clock.now / one, clock.now / batch / 2)


def passing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, model: Any = None, stop: int | None = None
) -> tuple[Resumption, Observer]:
    """A pass with a bookmark after every batch, which breaks off after `stop` batches."""
    monkeypatch.setattr(policy, "SHARE", math.inf)
    monkeypatch.setattr(policy, "NOT_BEFORE", 0.0)
    model = model or tiny.random_model("qwen3")
    sequences = encoded(LENGTHS)
    splits = corpus.assign_splits([sequence.sample for sequence in sequences])
    observer = Observer(model, resolve(model, model.config))
    forward = observer.forward

    def stopping(*args: Any) -> Any:
        if observer.batches == stop:
            raise KeyboardInterrupt
        return forward(*args)

    monkeypatch.setattr(observer, "forward", stopping)
    resumption = Resumption(folder)
    with until_safe(resumption), observer.attached():
        marks = Bookmarks(resumption, {"of": "this"})
        plan = corpus.plan_batches(sequences, splits, 20)
        observer.run(plan, torch.device("cpu"), follower=marks.follow("corpus", observer))
    return resumption, observer


def test_what_was_broken_off_by_hand_goes_on_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        passing(tmp_path, monkeypatch, stop=3)
    assert len(list(tmp_path.iterdir())) == 1
    resumption, observer = passing(tmp_path, monkeypatch)
    assert resumption.remark.startswith("the measurement went on after ")
    assert not list(tmp_path.iterdir())
    whole = state_of(passing(tmp_path / "none", monkeypatch)[1])
    for name, entry in state_of(observer).items():
        assert repr(entry.value) == repr(whole[name].value)


def test_a_damaged_bookmark_is_told_and_all_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        passing(tmp_path, monkeypatch, stop=3)
    mark = next(tmp_path.iterdir())
    mark.write_bytes(mark.read_bytes()[:-5] + b"wrong")
    resumption, observer = passing(tmp_path, monkeypatch)
    assert resumption.remark == f"{mark} was not gone on from, it is damaged: all was measured from the beginning"
    assert sum(observer.tokens.values()) == sum(LENGTHS)


def remembering() -> Any:
    """A model that multiplies by how often it was called."""
    model: Any = tiny.random_model("qwen3")
    calls = [0.0]

    def forward(module: Any, args: Any, out: Any) -> Any:
        calls[0] += 1
        return out * (1 + calls[0] // 8)

    model.layers[1].register_forward_hook(forward)
    return model


def test_what_a_model_that_remembers_has_given_is_in_no_bookmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MeasureError, match="it remembers what ran"):
        passing(tmp_path, monkeypatch, remembering())
    assert not list(tmp_path.iterdir())


def test_what_files_that_changed_have_given_is_in_no_bookmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed() -> None:
        raise MeasureError("changed while it was measured")

    clock, written = Clock(monkeypatch, 0.0), list[str]()
    marks = Bookmarks(Resumption(tmp_path), {}, changed, clock)
    clock.now = 9.0
    monkeypatch.setattr(policy, "NOT_BEFORE", 0.0)
    monkeypatch.setattr(policy, "SHARE", math.inf)
    monkeypatch.setattr(policy, "write", lambda *args: written.append("written"))
    with pytest.raises(MeasureError, match="changed"):
        marks.offer("corpus", lambda: stages()["other"], lambda: None)
    assert not written


def test_a_disk_that_is_full_stops_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError("No space left on device")))
    resumption, observer = passing(tmp_path, monkeypatch)
    assert sum(observer.tokens.values()) == sum(LENGTHS)
    assert resumption.remark.endswith("(No space left on device)")


def test_only_bookmarks_that_nobody_came_back_to_are_removed(tmp_path: Path) -> None:
    old = time.time() - 15 * 86400
    names = [".pass.aa.bookmark", ".pass.bb.bookmark", ".other.cc.bookmark", "pass.dd.bookmark", "notes.txt"]
    for name in names:
        (tmp_path / name).write_text("")
        if name != ".pass.bb.bookmark":
            os.utime(tmp_path / name, (old, old))
    half = tmp_path / ".pass.ee.bookmark.123.partial"
    half.mkdir()
    (half / "whole").write_text("")
    os.utime(half, (old, old))
    Resumption(tmp_path).open("0" * 64)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
