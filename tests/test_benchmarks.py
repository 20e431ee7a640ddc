"""The command that measures on a GPU runs to its end where there is none, on a shape that takes no time."""

import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_the_gpu_benchmark_compares_and_prints_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sizes = ["--tokens", "60", "--length", "24", "--batch-tokens", "64", "--rounds", "1", "--schemes", "W8A8"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--shape", "tiny", *sizes])
    runpy.run_path(str(BENCHMARKS / "gpu.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "18 of 18 sites equal: no kernel, op by op" in said
    for row in ("bare", "paper sites", "and inputs of linear layers", "and W8A8", "effect of W8A8"):
        assert f"| {row} |" in said
