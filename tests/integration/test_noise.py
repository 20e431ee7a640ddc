"""Changes that the measurement itself gives: they pass, and the report says so."""

from pathlib import Path

import pytest
import torch

from pytest_maxact.record.file import save
from tests.support import tiny
from tests.support.gate_runs import run_gate
from tests.support.measuring import record_of


def test_a_change_inside_the_noise_passes_the_tightest_limit_and_is_counted(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    """One step of bfloat16 in the final norm, under a limit that lets nothing grow."""
    text = tiny.write_corpus(tmp_path / "corpus.jsonl", tiny.sentences([9, 7, 5, 8]))
    model = tiny.random_model("qwen3").to(torch.bfloat16)
    tiny.save(tmp_path / "old", model)
    with torch.no_grad():
        model.norm.weight.mul_(1 + 2**-7)
    tiny.save(tmp_path / "new", model)
    save(record_of(tmp_path / "old", text), tmp_path / "old.safetensors")
    tight = "version: 1\nextends: builtin\nregression: {max_growth: 1.001}\n"
    asked = [
        f"--maxact-corpus={text}",
        f"--maxact-baseline={tmp_path / 'old.safetensors'}",
        "--maxact-limits=tight.yaml",
    ]
    run_gate(
        pytester, f"--maxact-model={tmp_path / 'new'}", *asked, "--maxact-repeat=3", "--maxact-family=generic",
        files={"tight.yaml": tight}, exit=pytest.ExitCode.OK,
        says=["1 change beyond a limit is inside the noise of the measurement, the first final_norm::growth[old]",
              "3 samples again under"],
    )  # fmt: skip
