"""Products through float32 in a run of the gate: asked for, told in header, report and Record, and held apart."""

import json
from pathlib import Path

import pytest

from pytest_maxact.record.file import load
from tests.support.gate_runs import run_gate
from tests.support.paths import TRAINED

ON_LITTLE = ("--maxact-max-samples=8", "--maxact-max-seq-len=256", "--maxact-family=generic")


def test_it_is_told_in_header_report_and_record_and_no_baseline_of_another_is_taken(pytester: pytest.Pytester) -> None:
    run_gate(
        pytester, f"--maxact-model={TRAINED}", *ON_LITTLE, "--maxact-arithmetic=float32-accumulate",
        "--maxact-save=accumulated.safetensors",
        exit=0,
        report=["maxact: *(qwen3, 6 layers x 128, float32-accumulate)*"],
        says=["bfloat16 on cpu, float32-accumulate"],
    )  # fmt: skip
    assert load(Path("accumulated.safetensors")).provenance.arithmetic == "float32-accumulate"
    run_gate(
        pytester, f"--maxact-model={TRAINED}", *ON_LITTLE, "--maxact-arithmetic=native",
        "--maxact-baseline=accumulated.safetensors",
        refuses="they differ in arithmetic (float32-accumulate there, native here)",
    )  # fmt: skip


def test_a_model_in_float32_has_nothing_to_widen(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_gate(
        pytester, f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "--maxact-arithmetic=float32-accumulate",
        "--maxact-save=run.safetensors",
        exit=0,
        lacks=["float32-accumulate)"],
    )  # fmt: skip
    from pytest_maxact.cli.main import main

    capsys.readouterr()
    assert main(["show", "run.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["arithmetic"] == "native"
