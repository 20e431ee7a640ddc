"""Runs that go on where another stopped."""

from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from tests.support import tiny
from tests.support.training import logged, record_at, train, trainer_of


def test_a_run_that_is_resumed_is_measured_on_the_same_sample_and_against_its_first_measurement(
    tmp_path: Path, corpus: Path
) -> None:
    train(tmp_path, corpus, trainer=trainer_of(tmp_path, max_steps=4, save_steps=2), samples=5)
    first = record_at(tmp_path, 2)
    again = train(tmp_path, corpus, trainer=trainer_of(tmp_path, save_steps=2), resume=tmp_path / "checkpoint-4")
    assert list(again.findings) == [4, 6]  # the log of step 4 was written before its measurement
    assert record_at(tmp_path, 6).provenance.samples == first.provenance.samples
    assert logged(again)[-1]["maxact/growth"] == record_at(tmp_path, 6).carrier.max_abs / first.carrier.max_abs


def test_a_run_resumed_from_its_first_save_knows_the_record_of_that_save(tmp_path: Path, corpus: Path) -> None:
    train(tmp_path, corpus, trainer=trainer_of(tmp_path, max_steps=3), samples=5)
    again = train(tmp_path, corpus, resume=tmp_path / "checkpoint-3")
    assert len(record_at(tmp_path, 6).provenance.samples) == 5
    assert (
        logged(again)[-1]["maxact/growth"]
        == record_at(tmp_path, 6).carrier.max_abs / record_at(tmp_path, 3).carrier.max_abs
    )


def test_a_run_that_starts_anew_does_not_look_at_records_of_another(tmp_path: Path, corpus: Path) -> None:
    train(tmp_path, corpus, samples=5)
    assert logged(train(tmp_path, corpus))[0]["maxact/growth"] == 1.0
    assert len(record_at(tmp_path, 3).provenance.samples) == 12


def test_a_run_is_resumed_on_a_corpus_that_calls_its_samples_otherwise(tmp_path: Path, corpus: Path) -> None:
    train(tmp_path, corpus, trainer=trainer_of(tmp_path, max_steps=3), samples=5)
    renamed = tmp_path / "renamed.jsonl"
    renamed.write_text(corpus.read_text().replace('"id": "s', '"id": "line '))
    train(tmp_path, renamed, resume=tmp_path / "checkpoint-3")
    then, now = (record_at(tmp_path, step).provenance for step in (3, 6))
    assert now.corpus_sha256 == then.corpus_sha256
    assert all(name.startswith("line ") for name, *_ in now.samples)


def test_a_run_is_not_resumed_on_another_corpus(tmp_path: Path, corpus: Path) -> None:
    train(tmp_path, corpus, trainer=trainer_of(tmp_path, max_steps=3))
    other = tiny.write_corpus(tmp_path / "other.jsonl", tiny.sentences([6, 8, 4]))
    with pytest.raises(
        InputError, match=r"checkpoint-3\.maxact\.safetensors was measured on sample s\d+, which this corpus"
    ):
        train(tmp_path, other, resume=tmp_path / "checkpoint-3")
