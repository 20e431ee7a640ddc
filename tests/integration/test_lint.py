"""The gate on a quantized checkpoint: what a look at its scales finds is a check, and fails by name."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.support.gate_runs import run_gate
from tests.support.quantized import in_fp8

SCALE = "layers.1.mlp.down_proj.weight_scale_inv"


def test_sound_scales_are_one_check_and_a_negative_one_fails_by_the_name_of_its_tensor(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    model = in_fp8(Path(shutil.copytree(checkpoint, pytester.path / "qwen3")))
    arguments = (f"--maxact-model={model}", f"--maxact-corpus={corpus}", "--maxact-family=generic")
    run_gate(pytester, *arguments, "maxact::weights", exit=pytest.ExitCode.OK, passed=4)
    tensors = load_file(model / "model.safetensors")
    name = next(key for key in tensors if key.endswith(SCALE))
    tensors[name] = -tensors[name]
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    run_gate(
        pytester, *arguments, f"maxact::weights.{name}::scale", exit=pytest.ExitCode.TESTS_FAILED,
        says=[f"maxact::weights.{name}::scale", "layer 1", "negative"],
    )  # fmt: skip


def test_a_checkpoint_that_is_not_loaded_is_refused_with_what_lint_finds(
    pytester: pytest.Pytester, checkpoint: Path
) -> None:  # fmt: skip
    model = in_fp8(Path(shutil.copytree(checkpoint, pytester.path / "qwen3")))
    tensors = load_file(model / "model.safetensors")
    for name in [key for key in tensors if key.endswith(SCALE)]:
        del tensors[name]
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    run_gate(
        pytester, f"--maxact-model={model}", refuses="`maxact lint` finds 1 fault, the first: layers.1.mlp.down_proj"
    )
