"""Verdicts of fitness that would flatter: what a scheme breaks while the usual figures look well."""

from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.record.effect import UNDONE
from pytest_maxact.record.file import load
from tests.support import tiny
from tests.support.gate_runs import run_gate
from tests.support.headed import headed

RANDOM = "version: 1\nextends: builtin\ngeneric: {min_margin: null, min_changed: null}\n"
"""These models are random, and predict nothing."""


def gate(pytester: pytest.Pytester, model: Path, corpus: Path, *arguments: str, deploy: str = "") -> pytest.RunResult:
    given = [f"--maxact-model={model}", f"--maxact-corpus={corpus}", "--maxact-family=generic"]
    return run_gate(pytester, *given, "--maxact-limits=own.yaml", *arguments, files={"own.yaml": RANDOM + deploy})


def failed(result: pytest.RunResult) -> set[str]:
    return {line.split(" ")[1].split("maxact::")[1] for line in result.outlines if line.startswith("FAILED")}


def words(result: pytest.RunResult) -> str:
    return " ".join(result.stdout.str().split())


def one_weight(model: Any) -> None:
    """Input channel 9 of the block is always zero, so that the model computes what it did."""
    model.model.layers[1].post_attention_layernorm.weight[9] = 0.0
    model.model.layers[1].mlp.up_proj.weight[3, 9] = 1e6


# Weights


def test_a_matrix_that_one_weight_empties_is_named_and_fails(
    pytester: pytest.Pytester, tmp_path: Path, corpus: Path
) -> None:
    result = gate(pytester, headed(tmp_path / "model", change=one_weight), corpus, "--maxact-deploy=FP8")
    assert result.ret == 1
    assert "layers.1.mlp_in::FP8.weight_flush_to_zero" in failed(result)
    text = words(result)
    assert "layers.1.mlp.up_proj.weight exceeds the limit 0.5" in text
    assert "spread over all" not in text
    assert "fits FP8" not in text


def test_the_one_linear_layer_that_breaks_predictions_is_found_and_named(
    pytester: pytest.Pytester, tmp_path: Path, corpus: Path
) -> None:
    """No bound speaks of weights, and inputs meet theirs: only trying tells which layer it is."""
    loose = "deploy: {max_weight_flush_to_zero: 1, min_sqnr_db: -99, max_flush_to_zero: 1}\n"
    model, saved = headed(tmp_path / "model", change=one_weight), tmp_path / "record"
    result = gate(pytester, model, corpus, "--maxact-deploy=FP8", f"--maxact-save={saved}", deploy=loose)
    assert failed(result) == {"model::FP8.mean_kl"}
    text = words(result)
    assert "one linear layer breaks predictions: with model.layers.1.mlp.up_proj alone in 16 bits mean KL is" in text
    effects = load(saved).effects
    assert effects["FP8" + UNDONE].kept == ("model.layers.1.mlp.up_proj",)
    assert effects["FP8" + UNDONE].tokens == effects["FP8"].tokens
    assert effects["FP8" + UNDONE].mean_kl < 0.1 < effects["FP8"].mean_kl


# Text as it is deployed


def loud_first_token(model: Any) -> None:
    model.model.embed_tokens.weight[1, 5] = 90112.0


def test_what_a_bos_carries_counts_for_deployment_though_the_corpus_has_none(
    pytester: pytest.Pytester, tmp_path: Path, corpus: Path
) -> None:
    model = headed(tmp_path / "model", change=loud_first_token, tokenizer=tiny.word_tokenizer(bos=True))
    result = gate(pytester, model, corpus, "--maxact-deploy=FP16,FP8")
    assert {"layers.0.hidden::FP16.headroom", "model::FP16.mean_kl"} <= failed(result)
    assert "layers.0.hidden::max_abs" not in failed(result), "the paper's limits are of bare text"
    text = words(result)
    assert "ships in FP16" not in text
    assert "with special tokens too" in text
    plain = gate(pytester, model, corpus)
    assert plain.ret == 0
    assert "no observed site exceeds 65 504" in words(plain)
    assert "attention scores unchecked; for text without special tokens" in words(plain)


# Attention scores


def loud_queries_and_keys(model: Any) -> None:
    for layer in model.model.layers:
        for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj):
            projection.bias.zero_()
            projection.bias[[3, 11]] = 700.0


def test_queries_and_keys_whose_product_leaves_float16_do_not_ship_in_it(
    pytester: pytest.Pytester, tmp_path: Path, corpus: Path
) -> None:
    model = headed(tmp_path / "model", change=loud_queries_and_keys, model_type="llama", attention_bias=True)
    result = gate(pytester, model, corpus, "--maxact-deploy=FP16")
    text = words(result)
    assert "model::FP16.score_headroom" in failed(result)
    assert "attention scores reach" in text
    assert "ships in FP16" not in text


# A run in the format


def beyond_between_sites(model: Any) -> None:
    for layer in model.model.layers:
        layer.self_attn.q_proj.weight *= 2.0**14
        layer.mlp.gate_proj.weight *= 2.0**-6
        layer.mlp.up_proj.weight *= 2.0**14
        layer.mlp.down_proj.weight *= 2.0**-9


def test_nothing_fits_float16_that_was_not_run_in_it(pytester: pytest.Pytester, tmp_path: Path, corpus: Path) -> None:
    model = headed(tmp_path / "model", change=beyond_between_sites)
    plain = gate(pytester, model, corpus)
    assert plain.ret == 0
    assert "no observed site exceeds 65 504" in words(plain)
    assert "attention scores unchecked" in words(plain)
    assert "FP16 fits" not in words(plain)
    reported = gate(pytester, model, corpus, "--maxact-schemes=FP16")
    text = words(reported)
    assert "fits FP16" not in text
    assert "ships in FP16" not in text
    assert "no observed site exceeds FP16, in which it was not run (--maxact-effect=FP16)" in text
    deployed = gate(pytester, model, corpus, "--maxact-deploy=FP16")
    assert "model::FP16.mean_kl" in failed(deployed)
    deployed.stdout.fnmatch_lines(["FP16 * does not fit: *"])
