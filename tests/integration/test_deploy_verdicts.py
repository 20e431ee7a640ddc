"""Verdicts of fitness that would flatter: what a scheme breaks while the usual figures look well."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.gate_runs import run_gate
from tests.support.headed import headed


def gate(pytester: pytest.Pytester, model: Path, corpus: Path, *arguments: str) -> pytest.RunResult:
    return run_gate(
        pytester, f"--maxact-model={model}", f"--maxact-corpus={corpus}", "--maxact-family=generic", *arguments
    )


def failed(result: pytest.RunResult) -> set[str]:
    return {line.split(" ")[1].split("maxact::")[1] for line in result.outlines if line.startswith("FAILED")}


def one_weight(model: Any) -> None:
    model.model.layers[1].self_attn.k_proj.weight[3, 7] = 1e6


# Weights


def test_a_matrix_that_one_weight_empties_is_named_and_fails(
    pytester: pytest.Pytester, tmp_path: Path, corpus: Path
) -> None:
    result = gate(pytester, headed(tmp_path / "model", change=one_weight), corpus, "--maxact-deploy=FP8")
    assert result.ret == 1
    assert "layers.1.qkv_in::FP8.weight_flush_to_zero" in failed(result)
    text = " ".join(result.stdout.str().split())
    assert "layers.1.self_attn.k_proj.weight exceeds the limit 0.5" in text
    assert "spread over all" not in text
    assert "fits FP8" not in text
