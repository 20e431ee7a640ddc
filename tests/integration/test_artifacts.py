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
    return ("--maxact-max-samples=24", "--maxact-max-seq-len=128", "--maxact-family=generic")


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
            "dynamic); predictions against a source are made as it does",
        ],
    )  # fmt: skip


def test_static_scales_are_held_against_what_inputs_reach(
    pytester: pytest.Pytester, tmp_path: Path, short: tuple[str, ...]
) -> None:
    """Inputs of the first down projection go beyond 60, which a scale that reaches 100 holds, and one of 6 does not."""
    fair = compressed.export(tmp_path / "fair", "FP8", TRAINED, reach=100.0)
    run_gate(
        pytester, f"--maxact-model={fair}", *short, "--maxact-sites=deploy", exit=pytest.ExitCode.OK,
        says=["static ones held against what was met"], lacks=["with static scales unchecked"],
    )  # fmt: skip
    narrow = compressed.export(tmp_path / "narrow", "FP8", TRAINED, reach=6.0)
    name = "model.layers.3.mlp.down_proj.input_scale"
    run_gate(
        pytester, f"--maxact-model={narrow}", *short, "--maxact-sites=deploy", "--maxact-save=narrow.safetensors",
        exit=pytest.ExitCode.TESTS_FAILED,
        says=[f"maxact::weights.{name}::static_overflow", "fp8_e4m3) it reaches 6, and layers.3.down_in", "would give"],
    )  # fmt: skip
    run_gate(
        pytester, "--maxact-replay=narrow.safetensors", "--maxact-family=generic", exit=pytest.ExitCode.TESTS_FAILED,
        report=[f"FAILED *maxact::weights.{name}::static_overflow*"],
    )  # fmt: skip


@pytest.mark.parametrize("quiet", [(), ("-q",)], ids=["plain", "quiet"])
def test_one_whose_static_scales_were_left_out_says_so_in_its_headline(
    quiet: tuple[str, ...], pytester: pytest.Pytester, tmp_path: Path, short: tuple[str, ...]
) -> None:
    narrow = compressed.export(tmp_path / "narrow", "FP8", TRAINED, reach=6.0)
    run_gate(
        pytester, f"--maxact-model={narrow}", *short, *quiet, "--maxact-sites=paper", exit=pytest.ExitCode.OK,
        says=["with static scales unchecked: all"],
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
        pytester, f"--maxact-model={file}", f"--maxact-corpus={corpus}", "--maxact-family=generic",
        "--maxact-verdict=verdict.json",
        says=["stored as gguf (Q8_0), 8 bits in groups of 32, dequantized by gguf"],
    )  # fmt: skip
    subject = json.loads((pytester.path / "verdict.json").read_text())["subject"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert [(entry["name"], entry["digest"]["sha256"]) for entry in subject] == [("model.gguf", digest)]
