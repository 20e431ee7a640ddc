"""Runs that are judged against a Record of before."""

from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.record.file import load, save
from tests.support import tiny
from tests.support.measuring import record_of
from tests.support.training import causal_lm, record_at, refused, train, trainer_of


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A Record of the model that the runs of this module begin with."""
    folder = tmp_path_factory.mktemp("start")
    tiny.save(folder / "model", causal_lm())
    save(record_of(folder / "model", corpus, max_samples=7), folder / "start.safetensors")
    return folder / "start.safetensors"


def test_a_baseline_brings_its_samples_and_judges_from_the_first_measurement_on(
    tmp_path: Path, corpus: Path, start: Path
) -> None:
    callback = train(tmp_path, corpus, baseline=start, trainer=trainer_of(tmp_path, learning_rate=0.1))
    assert record_at(tmp_path, 3).provenance.samples == load(start).provenance.samples
    assert any(finding.limit.against == f"baseline {start}" for finding in callback.findings[3])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder, corpus: folder / "nothing", "no Record at"),
        (
            lambda folder, corpus: save_record(folder, corpus, causal_lm(), dtype="bf16"),
            r"they differ in dtype \(bfloat16 there, float32 here\)\n",
        ),
        (
            lambda folder, corpus: save_record(folder, corpus, causal_lm(), max_seq_len=5),
            r"they differ in max_seq_len \(5 there, ",
        ),
        (
            lambda folder, corpus: save_record(folder, corpus, causal_lm(num_hidden_layers=2)),
            "it has no site layers.2.hidden",
        ),
    ],
)
def test_a_baseline_that_cannot_be_compared_with_is_refused_before_the_first_step(
    make: Any, message: str, tmp_path: Path, corpus: Path
) -> None:
    refused(tmp_path, message, corpus=corpus, baseline=make(tmp_path, corpus))


def test_a_baseline_that_the_run_would_write_over_is_refused(tmp_path: Path, corpus: Path) -> None:
    train(tmp_path, corpus)
    kept = tmp_path / "checkpoint-3.maxact.safetensors"
    content = kept.read_bytes()
    refused(
        tmp_path,
        "lies where this run writes its own Record of step 3",
        trainer_of(tmp_path),
        corpus=corpus,
        baseline=kept,
    )
    assert kept.read_bytes() == content


def save_record(folder: Path, corpus: Path, model: Any, **options: Any) -> Path:
    save(record_of(tiny.save(folder / "model", model), corpus, **options), folder / "record")
    return folder / "record"
