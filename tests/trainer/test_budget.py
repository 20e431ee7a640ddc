"""How long a measurement may take, and on which samples it is made."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.trainer.sample import Budget, OverBudgetError, within
from tests.support.measuring import encoded
from tests.support.training import (
    STEPS,
    Doing,
    hooks_on,
    logged,
    record_at,
    records_in,
    saved_record,
    train,
    trainer_of,
)


def test_a_measurement_beyond_its_budget_is_skipped_and_training_goes_on(
    tmp_path: Path, corpus: Path, saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(saved, tmp_path / "checkpoint-3.maxact.safetensors")  # left by another run
    callback = train(tmp_path, corpus, budget_seconds=1e-5, stop_on_breach=True)
    assert callback.trainer.state.global_step == STEPS
    assert [entry["step"] for entry in logged(callback, "maxact/skipped")] == [3, 6]
    assert logged(callback) == []
    assert records_in(tmp_path) == []
    assert hooks_on(callback.trainer.model) == 0
    assert "the measurement at step 3 was given up, its budget of 1e-05 s is spent" in caplog.text
    assert "nothing was measured in this run" in caplog.text


def slow_passes(trainer: Any, monkeypatch: pytest.MonkeyPatch, seconds: list[float]) -> None:
    """Every pass of a measurement takes so many seconds, the first of the list, by a clock that nothing else moves."""
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def passed(module: Any, args: Any) -> None:
        if not module.training:
            clock[0] += seconds[0]

    trainer.model.model.layers[0].register_forward_pre_hook(passed)


def test_one_slow_measurement_is_skipped_and_the_next_is_of_the_same_sample(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.01]
    trainer = trainer_of(
        tmp_path,
        callbacks=[
            Doing(3, lambda model: seconds.__setitem__(0, 2.0)),
            Doing(5, lambda model: seconds.__setitem__(0, 0.01)),
        ],
    )
    slow_passes(trainer, monkeypatch, seconds)
    callback = train(tmp_path, corpus, trainer=trainer, every=2, budget_seconds=3.0, batch_tokens=1)
    assert list(callback.findings) == [2, 6]
    assert [entry["step"] for entry in logged(callback, "maxact/skipped")] == [4]
    assert record_at(tmp_path, 2).provenance.samples == record_at(tmp_path, 6).provenance.samples


def test_fewer_samples_are_read_where_all_would_not_fit_and_the_same_throughout(
    tmp_path: Path, corpus: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(tmp_path)
    slow_passes(trainer, monkeypatch, [0.25])
    callback = train(tmp_path, corpus, trainer=trainer, budget_seconds=2.5, batch_tokens=1)
    samples = record_at(tmp_path, 3).provenance.samples
    assert 2 <= len(samples) < 12
    assert record_at(tmp_path, 6).provenance.samples == samples
    assert logged(callback)[0]["maxact/samples"] == len(samples)
    assert f"this run is measured on {len(samples)} of 12 samples" in caplog.text


def test_the_sample_is_what_a_pilot_leaves_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    sequences = encoded([10] * 12)

    def run(pilot: Any) -> None:
        assert len(pilot) == 2
        clock[0] += 1.0

    chosen = within(Budget(6.0), sequences, 0, run)
    assert len(chosen) == 7
    assert {category: sum(s.sample.category == category for s in chosen) for category in "ab"} in (
        {"a": 4, "b": 3},
        {"a": 3, "b": 4},
    )
    assert len(within(Budget(100.0), sequences, 0, run)) == 12
    assert len(within(Budget(1.01), sequences, 0, run)) == 2
    with pytest.raises(OverBudgetError):
        within(Budget(0.5), sequences, 0, run)
    assert len(within(Budget(6.0, spent=4.0), sequences, 0, run)) == 2


def test_a_small_share_of_a_large_corpus_is_read(tmp_path: Path, corpus: Path) -> None:
    train(tmp_path, corpus, samples=5)
    assert len(record_at(tmp_path, 3).provenance.samples) == 5
    settings_alike = saved_record(tmp_path / "checkpoint-3", corpus, max_samples=5)
    assert record_at(tmp_path, 3).sites == settings_alike.sites
