"""`--maxact-sites attention`: queries, keys, values and logits in Record, report, site map and comparison."""

from pathlib import Path

import pytest

from pytest_maxact.record.file import load
from tests.support.gate_runs import run_gate


@pytest.fixture
def attended(pytester: pytest.Pytester, checkpoint: Path, corpus: Path) -> Path:
    """The Record of a run that observes attention, by way of the gate."""
    file = pytester.path / "attended.safetensors"
    result = run_gate(
        pytester, f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "--maxact-sites=attention",
        f"--maxact-save={file}",
    )  # fmt: skip
    assert result.ret == 0
    result.stdout.fnmatch_lines(["attention *largest logit * in layer *, head * of *"])
    return file


def test_a_record_of_attention_holds_its_sites_and_logits_and_replays(
    pytester: pytest.Pytester, attended: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = load(attended)
    layers = range(record.provenance.layers)
    assert {f"layers.{layer}.{kind}" for layer in layers for kind in "qkv"} <= set(record.sites)
    assert record["layers.0.k"].heads
    assert record.logits
    assert [found.layer for found in record.logits] == list(layers)
    assert all(found.query_token and found.key_token for found in record.logits)
    result = run_gate(pytester, f"--maxact-replay={attended}")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["attention *largest logit *"])


def test_a_plain_record_is_no_baseline_for_one_of_attention_and_the_other_way_round_it_is(
    pytester: pytest.Pytester, attended: Path, saved: Path
) -> None:
    lacking = run_gate(pytester, f"--maxact-replay={attended}", f"--maxact-baseline={saved}")
    assert lacking.ret == 4
    lacking.stderr.fnmatch_lines(["*has no layers.0.q, so not every site could be*"])
    assert run_gate(pytester, f"--maxact-replay={saved}", f"--maxact-baseline={attended}").ret == 0
