"""A streamed pass that was broken off between layers goes on there: the Record is that of the ordinary pass, to the
byte, and no batch runs through a layer twice but through the one in which it was cut short.
"""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.resume import bookmarks as policy
from pytest_maxact.measure.resume.resumption import Resumption, until_safe
from pytest_maxact.measure.run import measure
from pytest_maxact.measure.stream.observed import BatchAside
from pytest_maxact.measure.stream.replay import Standing
from pytest_maxact.record.file import save
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.zoo.configs import build

SCHEMES = ("W8A8", "W8A8_STATIC", "NVFP4", "FP16")


class Killed(BaseException):
    """What no code catches."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine samples of several lengths, so that batches of 32 tokens are padded."""
    return tiny.write_corpus(
        tmp_path_factory.mktemp("text") / "c.jsonl", tiny.sentences([7, 12, 3, 9, 5, 11, 4, 8, 16])
    )


class Runs:
    """One measurement, again and again, that dies before its so-manieth step of a batch. `steps`: all that were taken,
    by batch and by what the batch had behind it.
    """

    def __init__(self, settings: Settings, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.settings, self.folder = settings, folder
        self.steps: list[tuple[str, int]] = []
        self._dies_at, self._taken = -1, 0
        patch.setattr(policy, "SHARE", math.inf)
        patch.setattr(policy, "NOT_BEFORE", 0.0)
        leave = BatchAside.leave
        runs = self

        def noted(aside: BatchAside, ended: bool) -> None:
            went_on = aside._left is not None
            leave(aside, ended)
            if not went_on:
                if runs._taken == runs._dies_at:
                    raise Killed
                runs._taken += 1
                sample = aside._planned.sequences[0].sample.id
                runs.steps.append((f"{id(type(aside))} {sample}", len(aside.rows)))

        patch.setattr(BatchAside, "leave", noted)

    def run(self, dies_at: int = -1) -> str | None:
        """What was told of going on; None where it died."""
        self._dies_at, self._taken = dies_at, 0
        resumption = Resumption(self.folder / "marks")
        try:
            with until_safe(resumption):
                record = measure(prepare(self.settings), self.settings, None, resumption=resumption)
                save(record, self.folder / "streamed.safetensors")
        except Killed:
            return None
        return resumption.remark


def whole(settings: Settings, folder: Path) -> bytes:
    ordinary = Settings(**{**_given(settings), "device": "cpu"})
    save(measure(prepare(ordinary), ordinary, None), folder / "whole.safetensors")
    return (folder / "whole.safetensors").read_bytes()


def _given(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in ("model", "corpus", "batch_tokens", "schemes", "sites")}


def elsewhere(*given: object) -> None:
    raise OSError(18, "Invalid cross-device link")


@pytest.mark.parametrize(
    ("model_type", "deaths"),
    [("llama", [2, 13, 5]), ("mixtral", [13]), ("gemma2", [18, 3]), ("doge", [13])],
)
def test_it_goes_on_where_it_was(
    model_type: str, deaths: list[int], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.save(tmp_path / "m", build(model_type))
    settings = Settings(
        model=str(folder), corpus=str(corpus), batch_tokens=32, device="stream", schemes=SCHEMES, sites="all"
    )
    wanted = whole(settings, tmp_path)
    runs = Runs(settings, tmp_path, monkeypatch)
    if model_type == "gemma2":
        monkeypatch.setattr("os.link", elsewhere)
    for death in deaths:
        assert runs.run(death) is None
    told = runs.run()
    assert told is not None
    assert told.startswith("the measurement went on after ")
    assert (tmp_path / "streamed.safetensors").read_bytes() == wanted
    if model_type == "doge":
        return  # it turns out to be one whose sequences must run alone: all of it once more
    again = [step for step, count in Counter(runs.steps).items() if count > 1]
    batches = len({batch for batch, _ in runs.steps})
    assert len(again) <= batches * len(deaths)
    assert not list((tmp_path / "marks").iterdir())


@pytest.mark.parametrize("model_type", ["gemma3n_text", "nanochat"])
def test_what_cannot_be_brought_there_again_begins_anew_and_says_so(
    model_type: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers that share keys and values; one norm before the first layer and after the last."""
    folder = tiny.save(tmp_path / "m", build(model_type))
    settings = Settings(model=str(folder), corpus=str(corpus), batch_tokens=32, device="stream")
    runs = Runs(settings, tmp_path, monkeypatch)
    assert runs.run(13) is None
    assert not list((tmp_path / "marks").glob("*"))
    assert "no bookmark can be kept of this architecture while it is streamed: " in (runs.run() or "")
    assert (tmp_path / "streamed.safetensors").read_bytes() == whole(settings, tmp_path)


@pytest.mark.parametrize("damage", ["changed", "gone", "other"])
def test_hidden_states_that_are_not_what_was_laid_down_are_not_gone_on_from(
    damage: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.save(tmp_path / "m", build("llama"))
    settings = Settings(model=str(folder), corpus=str(corpus), batch_tokens=32, device="stream")
    runs = Runs(settings, tmp_path, monkeypatch)
    assert runs.run(13) is None
    states = sorted((tmp_path / "marks").glob(".pass.*.states/*.states"))
    assert states
    if damage == "gone":
        states[0].unlink()
    elif damage == "changed":
        states[0].write_bytes(states[0].read_bytes()[:-1] + b"\x7f")
    else:
        monkeypatch.setattr(
            "pytest_maxact.measure.stream.replay.standing", lambda given, spill: Standing(form="another", rest="")
        )
    told = runs.run()
    assert told is not None
    assert told.startswith("the measurement was not gone on with, ")
    assert told.endswith(": all was measured from the beginning")
    assert (tmp_path / "streamed.safetensors").read_bytes() == whole(settings, tmp_path)


def test_with_resumption_off_nothing_is_kept(corpus: Path, tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "m", build("llama"))
    settings = Settings(model=str(folder), corpus=str(corpus), device="stream", resume="off")
    measure(prepare(settings), settings, None)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
