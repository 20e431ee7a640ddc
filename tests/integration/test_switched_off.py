"""A shipped check that a config or a limits file switches off heads the report beside PASS, and strict refuses it."""

from pathlib import Path

import pytest

from tests.support.gate_runs import run_gate
from tests.support.quantized import restated
from tests.support.tiny import config_of, save

HEADLESS = "nothing checks that the model predicts text: config.json names Qwen3Model, which has no LM head"


def test_a_config_without_its_head_heads_the_report_measured_and_replayed(
    checkpoint: Path, corpus: Path, saved: Path, pytester: pytest.Pytester
) -> None:
    for asked in ([f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}"], [f"--maxact-replay={saved}"]):
        run_gate(pytester, *asked, exit=0, says=[f"WARNING: {HEADLESS}"], report=["*PASS*"])
        run_gate(pytester, *asked, "--maxact-strict", refuses=HEADLESS)


def test_a_config_with_its_head_is_not_remarked(corpus: Path, tmp_path: Path, pytester: pytest.Pytester) -> None:
    from transformers import AutoModelForCausalLM

    folder = save(tmp_path / "m", AutoModelForCausalLM.from_config(config_of("qwen3")))
    common = [f"--maxact-model={folder}", f"--maxact-corpus={corpus}", "-k", "predictions"]
    run_gate(pytester, *common, lacks=["nothing checks"])
    restated(folder, architectures=["Qwen3Model"])
    run_gate(pytester, f"--maxact-model={folder}", f"--maxact-corpus={corpus}", says=[f"WARNING: {HEADLESS}"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("min_changed: null", "nothing checks that every layer does something: generic.min_changed is null"),
        ("min_changed: 0", "nothing checks that every layer does something: generic.min_changed is 0, which any model"),
    ],
)
def test_a_bound_that_a_file_takes_away_heads_the_report(
    line: str, said: str, saved: Path, pytester: pytest.Pytester
) -> None:
    files = {"l.yaml": f"version: 1\nextends: builtin\ngeneric: {{{line}}}\n"}
    asked = [f"--maxact-replay={saved}", "--maxact-limits=l.yaml"]
    run_gate(pytester, *asked, files=files, exit=0, says=[f"WARNING: {said}", "l.yaml:3"])
    run_gate(pytester, *asked, "--maxact-strict", refuses="nothing checks")
