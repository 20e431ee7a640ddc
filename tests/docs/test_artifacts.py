"""The cases of docs/artifacts.md: each is planted in an export of its format, and the command that is shown prints what
is shown.
"""

from itertools import pairwise
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from pytest_maxact.cli import main
from tests.support.defects import DEFECTS
from tests.support.defects.planting import fill
from tests.support.exports import bitsandbytes, gguf
from tests.support.linting import planted
from tests.support.markdown import Block, blocks_of, commands_of
from tests.support.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "artifacts.md"
MAXIMA = "model.layers.1.mlp.up_proj.weight.absmax"
FORMATS = ("compressed", "fp8 block", "mxfp4", "gptq", "awq", "modelopt", "bitsandbytes", "gguf")


def cases() -> list[tuple[str, Block, Block]]:
    """By what is planted, the command of a case and what it prints."""
    blocks = list(blocks_of(PAGE))
    return [
        (block.said.removeprefix("case: "), block, after)
        for block, after in pairwise(blocks)
        if block.said.startswith("case: ")
    ]


def made(case: str, model: Path) -> Path:
    """The export of a case, with what is wrong with it."""
    if case == "GGUF: a scale that is infinite":
        return gguf.damaged(gguf.export(model), "blk.0.ffn_up.weight", float("inf"))
    if case == "bitsandbytes: a maximum that is NaN":
        bitsandbytes.export(model, nested=False)
        tensors = load_file(model / "model.safetensors")
        fill(MAXIMA, float("nan"))(tensors, {})
        save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
        return model
    return planted(model, DEFECTS[case])


def printed(case: str, command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    program, verb, model = command
    assert (program, verb) == ("maxact", "lint")
    made(case, Path(model))
    assert main(command[1:]) == 1
    return capsys.readouterr().out


@pytest.mark.parametrize(("case", "command", "shown"), cases(), ids=[case for case, _, _ in cases()])
def test_a_case_prints_what_is_shown(
    case: str, command: Block, shown: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (words,) = commands_of(command.text)
    assert shown.language == "text"
    assert [line.rstrip() for line in printed(case, words, capsys).strip().splitlines()] == [
        line.rstrip() for line in shown.text.strip().splitlines()
    ]


def test_every_format_has_a_case() -> None:
    exports = [DEFECTS[case].export if case in DEFECTS else case.partition(":")[0].lower() for case, _, _ in cases()]
    assert [form for form in FORMATS if not any(export.startswith(form) for export in exports)] == []
