"""A bookmark is of one measurement: whatever decides what a pass gathers decides by what it is known."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pytest_maxact.checkpoint.locate import with_seal, with_weights
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.provenance import content_of_pass
from pytest_maxact.settings.settings import Settings
from tests.support import tiny


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("given")
    model = tiny.save(folder / "model", tiny.random_model("qwen3"))
    corpus = tiny.write_corpus(folder / "corpus.jsonl", tiny.sentences([9, 14, 5, 17, 11]))
    return Settings(model=str(model), corpus=str(corpus))


def content(settings: Settings, digest: str = "") -> dict[str, object]:
    prepared = prepare(settings)
    checkpoint = with_seal(prepared.checkpoint, with_weights(prepared.checkpoint, settings))
    return content_of_pass(prepared, settings, digest, checkpoint.seal)


def test_the_same_is_known_alike(given: Settings) -> None:
    assert content(given) == content(replace(given, save="elsewhere", family="qwen3", strict=True))


@pytest.mark.parametrize("change", [
    {"batch_tokens": 16}, {"schemes": ("W8A8",)}, {"sites": "deploy"}, {"dtype": "bf16"}, {"max_samples": 3},
    {"max_seq_len": 8}, {"protocol": "deployed"}, {"shard": "1/2", "batch_tokens": 16},
    {"dtype": "bf16", "arithmetic": "float32-accumulate"},
], ids=str)  # fmt: skip
def test_settings_that_measure_make_another(given: Settings, change: dict[str, object]) -> None:
    other = replace(given, **change)
    assert content(other) != content(given)
    if "shard" in change:
        assert content(other) != content(replace(other, shard="2/2"))


def texts(settings: Settings) -> None:
    file = Path(settings.corpus or "")
    file.write_text(file.read_text().replace("w1", "w2"))


def times(settings: Settings) -> None:
    os.utime(Path(settings.model or "") / "model.safetensors")


def threads(settings: Settings) -> None:
    torch.set_num_threads(torch.get_num_threads() + 1)


@pytest.mark.parametrize("change", [texts, times, threads])
def test_what_lies_there_and_who_computes_make_another(given: Settings, change: Callable[[Settings], None]) -> None:
    before, had = content(given), torch.get_num_threads()
    try:
        change(given)
        assert content(given) != before
    finally:
        torch.set_num_threads(had)


def test_weights_that_are_known_by_their_digest_may_lie_elsewhere(given: Settings) -> None:
    before = content(given, "digest")
    times(given)
    assert content(given, "digest") == before
    assert content(given, "another") != before
