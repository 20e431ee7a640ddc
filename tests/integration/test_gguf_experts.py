"""A GGUF file of a mixture of experts, whole, through the gate: each half of its fused experts is judged by its own
tensor's form, and one that is not its source's is named.
"""

from pathlib import Path

import pytest

from pytest_maxact.checkpoint.tokenizer import load_tokenizer
from pytest_maxact.record.file import load
from tests.support.exports import gguf_architectures
from tests.support.exports.source import Tensors
from tests.support.gate_runs import run_gate
from tests.support.trained import change_weights

KINDS = {"ffn_gate_exps": "Q8_0", "ffn_up_exps": "Q4_1", "ffn_down_exps": "Q5_0"}
GATE, UP, DOWN = "blk.1.ffn_gate_exps.weight", "blk.1.ffn_up_exps.weight", "model.layers.1.mlp.experts.down_proj"
FAULT = "model.layers.1.mlp.experts.2.gate_proj.weight"


def kind_of(name: str) -> str:
    return next((kind for part, kind in KINDS.items() if part in name), "Q8_0")


@pytest.mark.parametrize("sound", [True, False], ids=["sound", "a fault in the gate half"])
def test_halves_of_experts_are_judged_each_by_its_own_form(
    sound: bool, pytester: pytest.Pytester, tmp_path: Path, corpus: Path
) -> None:
    origin = gguf_architectures.source(tmp_path / "origin", "qwen3_moe", vocab_size=258, num_experts=4)
    file = gguf_architectures.export(tmp_path / "model.gguf", origin, kind_of, tokenizer=True)
    load_tokenizer(file.parent, False, gguf=file.name).save_pretrained(origin)

    def change(tensors: Tensors) -> None:
        if not sound:
            tensors[FAULT].copy_(tensors[FAULT].roll(1, 0))

    change_weights(origin, change)
    record = tmp_path / "record.safetensors"
    result = run_gate(
        pytester, f"--maxact-model={file}", f"--maxact-source={origin}", f"--maxact-corpus={corpus}",
        "--maxact-family=generic", "--maxact-max-seq-len=32", f"--maxact-save={record}", "-k", "weights", "-rf",
        exit=pytest.ExitCode.OK if sound else pytest.ExitCode.TESTS_FAILED,
        says=[] if sound else [f"{GATE} (layer 1, expert 2): SQNR"], lacks=["not used by this architecture"],
    )  # fmt: skip
    failed = {line.partition("::weights")[2].partition("::")[0].removeprefix(".") for line in result.outlines
              if line.startswith("FAILED")}  # fmt: skip
    assert failed == (set() if sound else {"", GATE})
    found = load(record).source
    assert found is not None
    forms = {name: found.weights.lows[name].form for name in (GATE, UP, DOWN)}
    assert forms == {GATE: "gguf int8", UP: "gguf int4", DOWN: "gguf int5"}
