"""What the callback measures in real training runs, and where its Records lie."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.tensor
from transformers import AutoModel, Trainer

from pytest_maxact.cli.main import main
from pytest_maxact.errors import InputError
from pytest_maxact.judge.compare.comparison import compare
from pytest_maxact.record.comparability import differences, footing_of
from pytest_maxact.record.merge import merge
from tests.support import tiny
from tests.support.training import (
    FROM_SCRATCH,
    Doing,
    causal_lm,
    limits_file,
    record_at,
    records_in,
    saved_record,
    train,
    trainer_of,
)


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
        assert (record.provenance.left_out, saved.provenance.left_out) == (("lm_head: not part of the decoder",), ())
        assert record.provenance.model == f"checkpoint-{step}"
        assert record.provenance.weights_sha256 == f"in training, step {step}"
        assert record.provenance.dtype == "float32"
        assert record.provenance.family == "qwen3"
    limits = limits_file(tmp_path, FROM_SCRATCH)
    assert main(["judge", str(tmp_path / "checkpoint-6.maxact.safetensors"), "--limits", str(limits)]) == 0
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
