"""Quantized checkpoints are gated as they are: by the shipped checks, and told what of them was measured."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.support.exports import compressed, gguf, gptq, modelopt
from tests.support.gate_runs import run_gate
from tests.support.paths import TRAINED
from tests.support.trained import change_weights


@pytest.fixture
def short(pytester: pytest.Pytester) -> tuple[str, ...]:
    return ("--maxact-max-samples=24", "--maxact-max-seq-len=128", "--maxact-family=generic", "-q")


def test_an_artifact_of_sound_weights_passes_and_the_report_says_how_they_lay(
    pytester: pytest.Pytester, tmp_path: Path, short: tuple[str, ...]
) -> None:
    folder = gptq.export(tmp_path / "m", TRAINED, bits=8, group=64)
    run_gate(
        pytester, f"--maxact-model={folder}", *short, exit=pytest.ExitCode.OK,
        says=["stored as gptq (8 bits), 8 bits in groups of 64, dequantized by pytest-maxact"],
        lacks=["where a runtime quantizes them too"],
    )  # fmt: skip


def test_one_whose_inputs_are_quantized_too_is_said_to_be_measured_without(
    pytester: pytest.Pytester, tmp_path: Path, short: tuple[str, ...]
) -> None:
    folder = compressed.export(tmp_path / "m", "W8A8", TRAINED)
    run_gate(
        pytester, f"--maxact-model={folder}", *short, exit=pytest.ExitCode.OK,
        says=[
            "stored as compressed-tensors (int-quantized), 8 bits, dequantized by compressed-tensors",
            "inputs of linear layers are measured in 16 bits, where a runtime quantizes them too (int8 per token, "
            "dynamic)",
        ],
    )  # fmt: skip


def test_schemes_are_not_told_of_it(pytester: pytest.Pytester, tmp_path: Path) -> None:
    folder = modelopt.export(tmp_path / "m", "FP8", TRAINED)
    run_gate(
        pytester, f"--maxact-model={folder}", "--maxact-schemes=W8A8",
        refuses="its weights are quantized already (modelopt), so it cannot be told what a scheme would cost",
    )  # fmt: skip


def test_a_scale_of_zero_is_a_matrix_of_zeros(
    pytester: pytest.Pytester, tmp_path: Path, short: tuple[str, ...]
) -> None:
    folder = modelopt.export(tmp_path / "m", "FP8", TRAINED)
    name = "model.layers.3.mlp.down_proj.weight"
    change_weights(folder, lambda tensors: tensors[f"{name}_scale"].zero_())
    run_gate(
        pytester, f"--maxact-model={folder}", *short, exit=pytest.ExitCode.TESTS_FAILED,
        report=[f"FAILED *maxact::weights.{name}::all_zero*"],
    )  # fmt: skip


def test_a_gguf_file_is_gated_by_its_name_alone(pytester: pytest.Pytester, tmp_path: Path, corpus: Path) -> None:
    file = gguf.export(tmp_path / "model.gguf", "Q8_0")
    run_gate(
        pytester, f"--maxact-model={file}", f"--maxact-corpus={corpus}", "--maxact-family=generic", "-q",
        "--maxact-verdict=verdict.json",
        says=["stored as gguf (Q8_0), 8 bits in groups of 32, dequantized by gguf"],
    )  # fmt: skip
    subject = json.loads((pytester.path / "verdict.json").read_text())["subject"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert [(entry["name"], entry["digest"]["sha256"]) for entry in subject] == [("model.gguf", digest)]
