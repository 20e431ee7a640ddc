"""Short ways to run the gate inside a test."""

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.support import tiny

CHECKS = 2 * (4 * tiny.LAYERS + 2) + 1
"""Per site a maximum and a non-finite count, and the carrier's INT-8 error."""


def run_gate(pytester: pytest.Pytester, *args: object, **outcomes: int) -> pytest.RunResult:
    """A pytest run with the given arguments, and its outcomes checked."""
    result = pytester.runpytest(*(str(arg) for arg in args))
    if outcomes:
        result.assert_outcomes(**outcomes)
    return result


def drop_tensor(folder: Path, name: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
