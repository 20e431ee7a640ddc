"""What the model in training predicts: told on the live model, as of the checkpoint that it saves, and judged."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, BertModel, Qwen3ForCausalLM

from pytest_maxact.checkpoint.heads import no_head_of
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.measure import predict
from pytest_maxact.trainer.live import as_loaded, undisturbed
from tests.support import tiny
from tests.support.training import (
    FROM_SCRATCH,
    Doing,
    causal_lm,
    limits_file,
    logged,
    record_at,
    saved_record,
    train,
    trainer_of,
)


@pytest.mark.parametrize("options", [{}, {"bf16": True}], ids=["float32", "mixed"])
def test_figures_are_those_of_the_saved_checkpoint(options: dict[str, Any], tmp_path: Path, corpus: Path) -> None:
    model = causal_lm(attention_dropout=0.3, tie_word_embeddings=not options)
    callback = train(tmp_path, corpus, trainer=trainer_of(tmp_path, model, **options))
    for step, entry in zip((3, 6), logged(callback), strict=True):
        told = record_at(tmp_path, step).predictions
        assert told is not None
        assert told == saved_record(tmp_path / f"checkpoint-{step}", corpus).predictions
        assert (told.tokens > 0, told.unchecked, told.nonfinite) == (True, "", 0)
        assert (entry["maxact/margin"], entry["maxact/perplexity"]) == (told.margin, told.perplexity)
    assert record_at(tmp_path, 3).predictions != record_at(tmp_path, 6).predictions


@pytest.mark.parametrize("model_type", ["qwen3_moe", "gemma3"])
def test_heads_with_caps_and_of_larger_models_are_told_too(model_type: str, tmp_path: Path, corpus: Path) -> None:
    callback = train(tmp_path, corpus, trainer=trainer_of(tmp_path, causal_lm(model_type), max_steps=2), every=2)
    assert not callback.errors
    told = record_at(tmp_path, 2).predictions
    assert told == saved_record(tmp_path / "checkpoint-2", corpus).predictions
    assert told is not None
    assert told.tokens > 0


def test_a_margin_is_judged_as_by_the_gate_and_a_family_may_ask_for_less(tmp_path: Path, corpus: Path) -> None:
    asked = FROM_SCRATCH.replace("generic: {min_margin: null}", "generic: {min_margin: 50}")
    callback = train(tmp_path / "a", corpus, limits=limits_file(tmp_path, asked), every=1, stop_on_breach=True)
    assert [finding.limit.check for finding in callback.findings[1]] == ["predictions::margin"]
    assert callback.trainer.state.global_step == 1
    less = asked.replace("  qwen3:\n", "  qwen3:\n    min_margin: -50\n")
    trainer = trainer_of(tmp_path / "b", max_steps=1)
    assert train(tmp_path / "b", corpus, trainer=trainer, limits=limits_file(tmp_path, less)).findings == {1: ()}


def test_a_head_that_breaks_in_training_is_found_although_no_site_shows_it(tmp_path: Path, corpus: Path) -> None:
    def break_head(model: Any) -> None:
        with torch.no_grad():
            model.lm_head.weight[5, 0] = float("nan")

    model = causal_lm(tie_word_embeddings=False)
    trainer = trainer_of(tmp_path, model, callbacks=[Doing(3, break_head)], max_steps=3)
    callback = train(tmp_path, corpus, trainer=trainer, limits=limits_file(tmp_path, FROM_SCRATCH))
    assert "predictions::nonfinite" in {finding.limit.check for finding in callback.findings[3]}
    assert "maxact/margin" not in logged(callback)[0]


def test_a_model_without_a_next_token_head_says_so_once(
    tmp_path: Path, corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    config = tiny.config_of("qwen3", num_labels=64, pad_token_id=0)
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    trainer = trainer_of(tmp_path, model, max_steps=2)
    trainer.train_dataset = [{**row, "labels": 1} for row in trainer.train_dataset]
    with caplog.at_level(logging.WARNING):
        callback = train(tmp_path, corpus, trainer=trainer, every=1)
    assert not callback.errors
    told = record_at(tmp_path, 2).predictions
    assert told is not None
    assert (told.tokens, told.by_design) == (0, True)
    assert told.unchecked == "Qwen3ForSequenceClassification has no next-token head"
    assert not any(finding.site == "predictions" for finding in callback.findings[2])
    assert caplog.text.count("what the model predicts is unchecked in this run: Qwen3ForSequenceClassification") == 1


def test_why_a_live_model_has_no_head() -> None:
    def why(model: Any) -> str:
        checkpoint = Checkpoint(
            name="c", folder=Path(), revision=None, config=model.config, trust_remote_code=False, is_hub=False
        )
        return no_head_of(model, checkpoint)

    class Own(Qwen3ForCausalLM):  # type: ignore[misc]
        pass

    config = tiny.config_of("qwen3")
    assert [why(kind(config)) for kind in (Qwen3ForCausalLM, Own)] == ["", ""]
    assert why(Qwen3ForCausalLM(config).model) == "Qwen3Model has no next-token head"
    bert = BertModel(BertConfig(vocab_size=64, hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
    assert why(bert) == "transformers has no next-token head for this architecture"
    other = Qwen3ForCausalLM(config)
    other.base_model_prefix = "lm_head"
    assert why(other) == "Qwen3ForCausalLM is built around another body"


def test_the_head_is_left_as_it_was_too() -> None:
    model = causal_lm(tie_word_embeddings=False).train()
    model.lm_head.register_buffer("seen", torch.zeros(1))
    with undisturbed(as_loaded(model)):
        assert not model.training
        assert not model.lm_head.training
        model.lm_head.seen += 1
        model.lm_head.note = "left behind"
    assert model.training
    assert model.lm_head.training
    assert model.lm_head.seen == 0
    assert not hasattr(model.lm_head, "note")


def test_the_head_is_tried_once_in_a_run(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []
    trying = predict.headed_of
    monkeypatch.setattr(predict, "headed_of", lambda *args: tried.append(args) or trying(*args))
    train(tmp_path, corpus, every=2)
    assert len(tried) == 1
