"""Parts of a measurement from the command line: measured apart, merged, judged as one."""

from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import load
from tests.support.gate_runs import run_gate
from tests.support.measuring import as_parts_add_up


def test_parts_are_measured_merged_and_judged(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [str(checkpoint), "--corpus", str(corpus), "--batch-tokens", "24"]
    for part in (1, 2):
        assert main(["measure", *common, "--shard", f"{part}/2", "-o", f"part-{part}.safetensors"]) == 0
    assert main(["measure", *common, "-o", "all-at-once.safetensors"]) == 0
    assert main(["judge", "part-1.safetensors", "--family", "generic"]) == 4
    assert "part-1.safetensors: part 1 of 2 of a measurement" in capsys.readouterr().err
    assert main(["merge", "part-2.safetensors", "-o", "whole.safetensors"]) == 4
    assert "of 2 parts 1 is missing: 1" in capsys.readouterr().err
    assert main(["show", "part-2.safetensors"]) == 0
    assert "part 2 of 2 of a measurement: merge all" in capsys.readouterr().out
    assert main(["merge", "part-2.safetensors", "part-1.safetensors", "-o", "./part-1.safetensors"]) == 4
    assert "is one of the parts" in capsys.readouterr().err
    assert main(["merge", "part-2.safetensors", "part-1.safetensors", "-o", "whole.safetensors"]) == 0
    assert load("whole.safetensors") == as_parts_add_up(load("all-at-once.safetensors"))
    run_gate(pytester, "--maxact-replay=whole.safetensors", "--maxact-family=generic", exit=0)
    run_gate(
        pytester, "--maxact-replay=part-1.safetensors", refuses="part 1 of 2 of a measurement, which alone says nothing"
    )


@pytest.mark.parametrize(
    ("text", "why"), [("0/2", "K from 1 to N"), ("3/2", "3/2"), ("1", "is no part"), ("a/b", "a/b")]
)
def test_what_is_no_part_is_refused(text: str, why: str, pytester: pytest.Pytester, checkpoint: Path) -> None:
    run_gate(pytester, f"--maxact-model={checkpoint}", f"--maxact-shard={text}", refuses=why)


def test_a_part_is_not_judged_where_it_is_measured(pytester: pytest.Pytester, checkpoint: Path) -> None:
    run_gate(
        pytester, f"--maxact-model={checkpoint}", "--maxact-shard=1/2",
        refuses="a part of a measurement is measured, not judged",
        complaints=["*maxact measure MODEL --shard 1/2 -o PART for every part*"],
    )  # fmt: skip
