"""The callback in real training runs: what it measures, what it leaves alone, when it stops, and what it refuses."""

import logging
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
import torch.distributed.tensor
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel, Trainer, TrainerCallback

from pytest_maxact import corpus as corpora
from pytest_maxact.cli.main import main
from pytest_maxact.errors import InputError, setting
from pytest_maxact.judge.compare.comparison import compare
from pytest_maxact.record.comparability import differences, footing_of
from pytest_maxact.record.file import load, save
from pytest_maxact.record.merge import merge
from pytest_maxact.trainer.callback import MaxActCallback
from pytest_maxact.trainer.live import as_loaded, undisturbed
from pytest_maxact.trainer.sample import Budget, OverBudgetError, within
from pytest_maxact.trainer.words import argument
from tests.support import tiny
from tests.support.measuring import encoded, record_of
from tests.support.paths import REPOSITORY
from tests.support.training import STEPS, Doing, Listening, causal_lm, hooks_on, record_at, saved_record, trainer_of

KINDS = ("embedding", "hidden", "attn_output", "mlp_output", "gate", "final_norm")
FIGURES = {
    f"maxact/{name}"
    for name in (
        "M",
        *KINDS,
        "nonfinite",
        "int8_sqnr_db",
        "first_jump_layer",
        "massive_layers",
        "growth",
        "samples",
        "seconds",
        "breaches",
    )
}


def train(
    folder: Path, corpus: Path, *, resume: Path | None = None, trainer: Trainer | None = None, **options: Any
) -> MaxActCallback:
    trainer = trainer or trainer_of(folder)
    callback = MaxActCallback(trainer, corpus=corpus, **options)
    trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return callback


def logged(callback: MaxActCallback, key: str = "maxact/seconds") -> list[dict[str, Any]]:
    return [entry for entry in callback.trainer.state.log_history if key in entry]


def limits_file(folder: Path, text: str) -> Path:
    path = folder / "limits.yaml"
    path.write_text(dedent(text))
    return path


def records_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.maxact.safetensors"))


# What is measured


def test_every_save_has_a_record_beside_it_that_is_what_the_gate_measures_of_the_checkpoint(
    tmp_path: Path, corpus: Path
) -> None:
    tokenizer = tiny.word_tokenizer()

    def preprocess(model: Any) -> None:
        tokenizer(["w1 w2 w3"], truncation=True, padding="max_length", max_length=2)

    callbacks = [Doing(1, preprocess), Doing(5, preprocess)]
    train(
        tmp_path,
        corpus,
        trainer=trainer_of(tmp_path, causal_lm(attention_dropout=0.3), tokenizer=tokenizer, callbacks=callbacks),
    )
    assert tokenizer.backend_tokenizer.truncation["max_length"] == 2
    assert records_in(tmp_path) == ["checkpoint-3.maxact.safetensors", "checkpoint-6.maxact.safetensors"]
    for step in (3, 6):
        record, saved = record_at(tmp_path, step), saved_record(tmp_path / f"checkpoint-{step}", corpus)
        assert record.sites == saved.sites
        assert differences(footing_of(record.provenance), footing_of(saved.provenance)) == []
        assert record.provenance.left_out == saved.provenance.left_out
        assert record.provenance.model == f"checkpoint-{step}"
        assert record.provenance.weights_sha256 == f"in training, step {step}"
        assert record.provenance.dtype == "float32"
        assert record.provenance.family == "qwen3"
    assert main(["judge", str(tmp_path / "checkpoint-6.maxact.safetensors")]) == 0
    assert len(compare(record_at(tmp_path, 3), record_at(tmp_path, 6)).changes) == len(record.sites)
    with pytest.raises(InputError, match="weights_sha256"):
        merge([record_at(tmp_path, 3), record_at(tmp_path, 6)])


def test_every_so_many_steps_are_measured_and_saves_are_not(tmp_path: Path, corpus: Path) -> None:
    callback = train(tmp_path, corpus, every=2)
    assert list(callback.findings) == [2, 4, 6]
    assert records_in(tmp_path) == [f"checkpoint-{step}.maxact.safetensors" for step in (2, 4, 6)]
    assert record_at(tmp_path, 4).provenance.model == tmp_path.name
    assert record_at(tmp_path, 6).sites == saved_record(tmp_path / "checkpoint-6", corpus).sites


def test_a_run_in_mixed_precision_is_measured_in_the_dtype_of_its_weights(tmp_path: Path, corpus: Path) -> None:
    train(tmp_path, corpus, trainer=trainer_of(tmp_path, bf16=True))
    assert record_at(tmp_path, 6).sites == saved_record(tmp_path / "checkpoint-6", corpus).sites


def test_a_model_that_accelerate_wrapped_itself_is_measured_without_autocast(tmp_path: Path, corpus: Path) -> None:
    class Pulling(Trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, **kwargs: Any) -> torch.Tensor:
            states: torch.Tensor = model(input_ids=inputs["input_ids"]).last_hidden_state
            return states.float().square().mean()

    torch.manual_seed(0)
    model = AutoModel.from_config(tiny.config_of("qwen3"), dtype=torch.float32)
    train(tmp_path, corpus, trainer=trainer_of(tmp_path, model, kind=Pulling, bf16=True))
    assert "_original_forward" in vars(model)
    assert record_at(tmp_path, 6).sites == saved_record(tmp_path / "checkpoint-6", corpus).sites


def test_a_mixture_of_experts_and_a_part_of_a_larger_model_are_measured(tmp_path: Path, corpus: Path) -> None:
    for model_type in ("qwen3_moe", "gemma3"):
        folder = tmp_path / model_type
        callback = train(folder, corpus, trainer=trainer_of(folder, causal_lm(model_type), max_steps=2), every=2)
        assert not callback.errors
        assert record_at(folder, 2).sites == saved_record(folder / "checkpoint-2", corpus).sites


# What is logged


def test_loggers_are_told_finite_figures_through_the_trainer_and_no_loss_is_lost(tmp_path: Path, corpus: Path) -> None:
    listening = Listening()
    callback = train(tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[listening]), every=2)
    history = logged(callback)
    assert [entry["step"] for entry in history] == [2, 4, 6]
    assert all(entry.keys() >= FIGURES for entry in history)
    assert all(
        type(value) is float and math.isfinite(value)
        for entry in history
        for key, value in entry.items()
        if key in FIGURES
    )
    assert [step for step, logs in listening.told if logs.keys() >= FIGURES] == [2, 4, 6]
    assert [entry["step"] for entry in logged(callback, "loss")] == [2, 4, 6]
    record, first = record_at(tmp_path, 6), record_at(tmp_path, 2)
    assert history[-1]["maxact/M"] == record.carrier.max_abs
    assert history[-1]["maxact/growth"] == record.carrier.max_abs / first.carrier.max_abs
    assert history[0]["maxact/growth"] == 1.0
    for kind in KINDS:
        assert history[-1][f"maxact/{kind}"] == max(r.max_abs for r in record.sites.values() if r.site.kind == kind)
    assert history[-1]["maxact/samples"] == 12


def test_a_model_with_nan_is_a_breach_and_its_figures_are_left_out(tmp_path: Path, corpus: Path) -> None:
    def plant(model: Any) -> None:
        with torch.no_grad():
            model.model.layers[1].mlp.down_proj.weight[0, 0] = math.nan

    callback = train(tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[Doing(3, plant)]))
    entry = logged(callback)[0]
    assert entry["maxact/nonfinite"] > 0
    assert entry["maxact/breaches"] > 0
    assert (
        not {"maxact/M", "maxact/hidden", "maxact/growth", "maxact/int8_sqnr_db", "maxact/first_jump_layer"}
        & entry.keys()
    )
    assert entry["maxact/embedding"] > 0
    assert {finding.limit.metric.name for finding in callback.findings[3]} >= {"nonfinite", "max_abs"}


class Saving(TrainerCallback):  # type: ignore[misc]
    """Asks for a save with a control of its own."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        return replace(control, should_save=True)


def test_what_another_callback_decided_is_kept(tmp_path: Path, corpus: Path) -> None:
    train(
        tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[Saving()], save_strategy="no", max_steps=2), every=1
    )
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["checkpoint-1", "checkpoint-2"]
    assert len(records_in(tmp_path)) == 2


# What is left alone


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}], ids=str)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_run_gives_the_same_weights_bit_for_bit_with_and_without(
    checkpointing: bool, options: dict[str, Any], tmp_path: Path, corpus: Path
) -> None:
    def run(name: str, measured: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor, int]:
        trainer = trainer_of(tmp_path / name, causal_lm(attention_dropout=0.3), **options)
        trainer.model.model.layers[0].requires_grad_(False)
        if checkpointing:
            trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
        if measured:
            assert train(tmp_path / name, corpus, trainer=trainer, every=1).findings.keys() == set(range(1, STEPS + 1))
        else:
            trainer.train()
        assert all(module.training for module in trainer.model.modules())
        assert [p.requires_grad for p in trainer.model.model.layers[0].parameters()] == [False] * 11
        return trainer.model.state_dict(), torch.get_rng_state(), hooks_on(trainer.model)

    (weights, numbers, hooks), (untouched, expected, known) = run("with", True), run("without", False)
    assert hooks == known
    assert weights.keys() == untouched.keys()
    assert all(torch.equal(weights[name], untouched[name]) for name in weights)
    assert torch.equal(numbers, expected)


def test_what_modules_note_on_themselves_in_a_measurement_is_gone_after_it() -> None:
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 8}
    model = causal_lm(rope_parameters={**rope, "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}).train()
    model.model.layers[1].eval()
    rotary = model.model.rotary_emb
    keys, angles = set(vars(rotary)) | set(rotary._buffers), rotary.inv_freq.clone()
    with undisturbed(as_loaded(model, Path())), torch.inference_mode():
        assert not any(module.training for module in model.model.modules())
        model.model(input_ids=torch.arange(4, 44)[None])
        assert not torch.equal(rotary.inv_freq, angles)
    assert torch.equal(rotary.inv_freq, angles)
    assert not rotary.inv_freq.is_inference()
    assert set(vars(rotary)) | set(rotary._buffers) == keys
    assert model.model.training
    assert not model.model.layers[1].mlp.training


def test_old_checkpoints_are_still_rotated(tmp_path: Path, corpus: Path) -> None:
    train(tmp_path, corpus, trainer=trainer_of(tmp_path, save_steps=1, save_total_limit=2))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["checkpoint-5", "checkpoint-6"]
    assert len(records_in(tmp_path)) == STEPS


# When it stops


def test_a_breach_is_a_warning_and_ends_the_run_only_where_that_was_asked_for(
    tmp_path: Path, corpus: Path, tight: Path, caplog: pytest.LogCaptureFixture
) -> None:
    callback = train(tmp_path / "on", corpus, limits=tight)
    assert callback.trainer.state.global_step == STEPS
    assert [finding.site for finding in callback.findings[3]] == ["layers.1.hidden"]
    assert "checks that fail at step 3: 1\n  layers.1.hidden: max_abs" in caplog.text
    assert "training stops" not in caplog.text
    callback = train(tmp_path / "stopped", corpus, limits=tight, stop_on_breach=True)
    assert callback.trainer.state.global_step == 3
    assert "training stops at step 3: layers.1.hidden: max_abs" in caplog.text
    assert "exceeds the limit 0.00125" in caplog.text
    assert records_in(tmp_path / "stopped") == ["checkpoint-3.maxact.safetensors"]


def grow(model: Any) -> None:
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight *= 1000.0


def test_what_changed_is_judged_against_the_first_measurement(tmp_path: Path, corpus: Path) -> None:
    callback = train(
        tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[Doing(4, grow)]), every=2, stop_on_breach=True
    )
    assert callback.trainer.state.global_step == 4
    assert callback.findings[2] == ()
    grown = [finding for finding in callback.findings[4] if finding.limit.metric.name == "growth"]
    assert {"layers.1.mlp_output", "layers.1.hidden"} <= {finding.site for finding in grown}
    assert "regression against the first measurement of this run" in grown[0].message
    assert logged(callback)[1]["maxact/breaches"] == len(callback.findings[4])


def test_without_relative_limits_only_those_of_the_family_judge(tmp_path: Path, corpus: Path) -> None:
    limits = limits_file(tmp_path, "version: 1\nfamilies: {q: {model_types: [qwen3], limits: {hidden: 60000}}}")
    callback = train(tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[Doing(4, grow)]), every=2, limits=limits)
    assert callback.findings == {2: (), 4: (), 6: ()}


def test_a_waiver_lets_a_breach_pass(tmp_path: Path, corpus: Path, tight: Path) -> None:
    waiver = "waive: [{site: layers.1.hidden, reason: known from the start, owner: me, until: 2999-01-01}]"
    tight.write_text(f"{tight.read_text()}{waiver}\n")
    callback = train(tmp_path, corpus, limits=tight, stop_on_breach=True)
    assert callback.findings[3] == ()
    assert callback.trainer.state.global_step == STEPS


@pytest.mark.parametrize("stop", [False, True])
def test_a_measurement_that_cannot_be_made_counts_as_a_breach(
    stop: bool, tmp_path: Path, corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def sabotage(model: Any) -> None:
        def fail(module: Any, args: Any) -> None:
            if not module.training:
                raise RuntimeError("no evaluation here")

        model.model.layers[1].mlp.register_forward_pre_hook(fail)

    tmp_path.joinpath("checkpoint-3.maxact.safetensors").write_text("left by another run")
    callback = train(
        tmp_path, corpus, trainer=trainer_of(tmp_path, callbacks=[Doing(2, sabotage)]), stop_on_breach=stop
    )
    assert callback.trainer.state.global_step == (3 if stop else STEPS)
    assert "the forward pass failed on samples" in callback.errors[3]
    assert logged(callback, "maxact/failed")[0]["step"] == 3
    assert records_in(tmp_path) == []
    assert hooks_on(callback.trainer.model) == 1
    assert callback.trainer.model.training
    assert ("training stops at step 3: could not measure" in caplog.text) == stop
    assert "nothing was measured in this run" in caplog.text


def test_processes_of_one_run_stop_together(tmp_path: Path, corpus: Path, tight: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        dedent(f"""\
        from pathlib import Path
        import torch
        from pytest_maxact.trainer.callback import MaxActCallback
        from tests.support.training import trainer_of
        trainer = trainer_of(Path({str(tmp_path / "out")!r}), ddp_backend="gloo", save_strategy="no")
        callback = MaxActCallback(trainer, every=2, corpus={str(corpus)!r}, limits={str(tight)!r}, stop_on_breach=True)
        trainer.add_callback(callback)
        trainer.train()
        told = f"{{trainer.state.global_step}} {{sorted(callback.findings)}}"
        Path({str(tmp_path)!r}, f"rank{{trainer.args.process_index}}").write_text(told)
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()  # gloo may abort a process that exits without
        """)
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment, check=False)
    seen = {file.name: file.read_text() for file in tmp_path.glob("rank?")}
    assert seen == {"rank0": "2 [2]", "rank1": "2 []"}, result.stderr
    assert records_in(tmp_path / "out") == ["checkpoint-2.maxact.safetensors"]


# The time budget and the sample


def test_a_measurement_beyond_its_budget_is_skipped_and_training_goes_on(
    tmp_path: Path, corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.joinpath("checkpoint-3.maxact.safetensors").write_text("left by another run")
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


# Going on with a run


def test_a_run_that_is_resumed_is_measured_on_the_same_sample_and_against_its_first_measurement(
    tmp_path: Path, corpus: Path
) -> None:
    train(tmp_path, corpus, trainer=trainer_of(tmp_path, max_steps=4, save_steps=2), samples=5)
    first = record_at(tmp_path, 2)
    again = train(tmp_path, corpus, trainer=trainer_of(tmp_path, save_steps=2), resume=tmp_path / "checkpoint-4")
    assert list(again.findings) == [6]
    assert record_at(tmp_path, 6).provenance.samples == first.provenance.samples
    assert logged(again)[-1]["maxact/growth"] == record_at(tmp_path, 6).carrier.max_abs / first.carrier.max_abs


def test_a_run_resumed_from_its_first_save_knows_the_record_of_that_save(tmp_path: Path, corpus: Path) -> None:
    train(tmp_path, corpus, trainer=trainer_of(tmp_path, max_steps=3), samples=5)
    again = train(tmp_path, corpus, resume=tmp_path / "checkpoint-3")
    assert len(record_at(tmp_path, 6).provenance.samples) == 5
    assert (
        logged(again)[0]["maxact/growth"]
        == record_at(tmp_path, 6).carrier.max_abs / record_at(tmp_path, 3).carrier.max_abs
    )


def test_a_run_that_starts_anew_does_not_look_at_records_of_another(tmp_path: Path, corpus: Path) -> None:
    train(tmp_path, corpus, samples=5)
    assert logged(train(tmp_path, corpus))[0]["maxact/growth"] == 1.0
    assert len(record_at(tmp_path, 3).provenance.samples) == 12


def test_a_run_is_not_resumed_on_another_corpus(tmp_path: Path, corpus: Path) -> None:
    train(tmp_path, corpus, trainer=trainer_of(tmp_path, max_steps=3))
    other = tiny.write_corpus(tmp_path / "other.jsonl", tiny.sentences([6, 8, 4]))
    with pytest.raises(
        InputError, match=r"checkpoint-3\.maxact\.safetensors was measured on sample s\d+, which this corpus"
    ):
        train(tmp_path, other, resume=tmp_path / "checkpoint-3")


# A baseline


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


# What is refused


def refused(folder: Path, message: str, trainer: Trainer | None = None, **options: Any) -> None:
    """The request fails at the first word of the run, or before it, and no step is taken."""
    trainer = trainer or trainer_of(folder / "out")
    with pytest.raises(InputError, match=f"^MaxActCallback: (.|\n)*{message}"):
        start_of(trainer, options)
    assert trainer.state.global_step == 0


def start_of(trainer: Trainer, options: dict[str, Any]) -> None:
    trainer.add_callback(MaxActCallback(trainer, **options))
    trainer.train()


def test_a_run_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "the Trainer has no processing_class", trainer_of(tmp_path, tokenizer=None))


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, corpus: Path) -> None:
    refused(tmp_path, "the model embeds 20 tokens", trainer_of(tmp_path, causal_lm(vocab_size=20)), corpus=corpus)


class Strange(PreTrainedModel):  # type: ignore[misc]
    """A model of transformers without any of the parts that sites are read from."""

    config_class = PreTrainedConfig

    def __init__(self) -> None:
        super().__init__(PreTrainedConfig())
        self.weight = torch.nn.Parameter(torch.ones(2))


def test_an_architecture_whose_sites_are_not_found_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "names no token embedding", trainer_of(tmp_path, Strange()))


def test_what_is_no_model_of_transformers_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "Linear is no model of transformers", trainer_of(tmp_path, torch.nn.Linear(2, 2)))


def test_a_family_without_limits_must_be_judged_by_generic_by_name(tmp_path: Path, corpus: Path) -> None:
    limits = limits_file(tmp_path, "version: 1\nfamilies: {other: {model_types: [other], limits: {hidden: 3}}}")
    refused(tmp_path, "no limits for model_type 'qwen3'(.|\n)*use `family` generic", corpus=corpus, limits=limits)
    callback = train(tmp_path, corpus, limits=limits, family="generic")
    assert callback.findings == {3: (), 6: ()}
    assert record_at(tmp_path, 3).provenance.family == "generic"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "version: 1\nfamilies: {q: {model_types: [qwen3], limits: {hiden: 3}}}",
            r"limits\.yaml:2: .*no site kind called 'hiden'",
        ),
        (
            "version: 1\nextends: builtin\nregression: {sites: {nowhere: {max_growth: 2}}}",
            "pattern 'nowhere' matches no site",
        ),
        (
            "version: 1\nprotocol: deployed\nfamilies: {q: {model_types: [qwen3], limits: {hidden: 3}}}",
            "hold for protocol 'deployed'",
        ),
    ],
)
def test_a_limits_file_that_is_wrong_is_refused(text: str, message: str, tmp_path: Path, corpus: Path) -> None:
    refused(tmp_path, message, corpus=corpus, limits=limits_file(tmp_path, text))


def test_a_run_in_which_nothing_would_be_measured_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "this run saves nothing", trainer_of(tmp_path, save_strategy="no"))
    refused(tmp_path, "every=7 is beyond the last step, 6", every=7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every is 0"), ({"samples": 1}, "samples is 1"), ({"budget_seconds": 0}, "budget_seconds is 0"),
        ({"budget_seconds": math.nan}, "budget_seconds is nan"), ({"protocol": "served"}, "protocol is 'served'"),
        ({"corpus": "nowhere.jsonl"}, "no corpus at nowhere.jsonl"), ({"family": "qwen"}, "no such family"),
    ],
)  # fmt: skip
def test_an_argument_that_is_wrong_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    refused(tmp_path, message, **options)


def test_a_callback_without_its_trainer_is_refused() -> None:
    with pytest.raises(InputError, match="was given Qwen3ForCausalLM where a Trainer"):
        MaxActCallback(causal_lm())


def begin(trainer: Trainer) -> None:
    callback = MaxActCallback(trainer)
    trainer.state.max_steps = STEPS
    callback.on_train_begin(trainer.args, trainer.state, trainer.control)


def distributed(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    """A parameter as tensor parallelism and FSDP2 hold it, in a world of one process."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
        return torch.nn.Parameter(torch.distributed.tensor.distribute_tensor(parameter.data, mesh))
    finally:
        torch.distributed.destroy_process_group()


def test_sharded_parameters_are_refused_and_the_series_is_named(tmp_path: Path) -> None:
    series = r"OUTPUT_DIR/checkpoint-\*"
    trainer = trainer_of(tmp_path)
    trainer.is_fsdp_enabled = True
    with pytest.raises(InputError, match=rf"are sharded \(FSDP\)(.|\n)*pytest --maxact-model='{series}'"):
        begin(trainer)
    trainer = trainer_of(tmp_path)
    next(trainer.model.parameters()).ds_id = 0
    with pytest.raises(InputError, match=rf"are sharded \(DeepSpeed ZeRO-3\)(.|\n)*{series}"):
        begin(trainer)
    trainer = trainer_of(tmp_path)
    trainer.model.lm_head.weight = distributed(trainer.model.lm_head.weight)
    with pytest.raises(InputError, match=rf"are sharded \(DTensor\)(.|\n)*{series}"):
        begin(trainer)
    trainer = trainer_of(tmp_path)
    trainer.model.lm_head.to("meta")
    with pytest.raises(InputError, match=rf"lie on several devices \(cpu, meta\)(.|\n)*{series}"):
        begin(trainer)


def test_attention_that_cannot_take_the_dtype_of_the_weights_is_refused(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    trainer.model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(InputError, match=r"the weights are float32.*flash_attention_2, which takes 16 bits only"):
        begin(trainer)


def test_a_hyperparameter_search_is_refused(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    trainer.state.is_hyper_param_search = True
    with pytest.raises(InputError, match="a hyperparameter search trains many models"):
        begin(trainer)


def test_errors_name_arguments_and_options_of_pytest_where_there_is_none() -> None:
    error = InputError(
        f"no limits\n  give it with {setting('limits')}; raise {setting('max_samples')}, or use"
        f" {setting('family')} generic, and {setting('model')}"
    )
    assert error.worded(argument) == (
        "no limits\n  give it with `limits`; raise `samples`, or use `family` generic, and --maxact-model"
    )


# How it is imported


def test_the_module_can_be_imported_without_accelerate_and_what_needs_it() -> None:
    absent = "sys.modules['accelerate'] = sys.modules['peft'] = None"
    code = f"import sys; {absent}; from pytest_maxact.trainer import MaxActCallback; print(MaxActCallback.__name__)"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert result.stdout.strip() == "MaxActCallback", result.stderr


def test_the_built_in_corpus_is_read_where_none_is_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pytest_maxact.trainer")
    trainer = trainer_of(tmp_path)
    trainer.add_callback(MaxActCallback(trainer, every=6))
    trainer.train()
    record = record_at(tmp_path, 6)
    assert record.provenance.corpus == "builtin"
    assert len(record.provenance.samples) == 16
    assert {category for _, category, *_ in record.provenance.samples} == set(corpora.samples.CATEGORIES)
    assert "this run is measured on 16 of 16 samples" in caplog.text
