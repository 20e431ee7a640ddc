"""`maxact hunt`: what it finds is a corpus, on which a gate fails that passed before."""

import json
from pathlib import Path

import pytest
import torch

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import load
from pytest_maxact.record.hunt import is_finds
from tests.support import rare_pair, tiny
from tests.support.gate_runs import run_gate


def test_a_rare_pair_is_missed_by_the_corpus_found_by_the_hunt_and_fails_the_gate_from_then_on(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    model, corpus = rare_pair.save_rare_pair(pytester.path, 80_000.0)
    gate = (f"--maxact-model={model}", "--maxact-family=generic")
    passed = [check for check in _failing(pytester, *gate, f"--maxact-corpus={corpus}") if "max_abs" in check]
    assert not [check for check in passed if "layers.1.hidden" in check]
    worst = pytester.path / "worst.jsonl"
    arguments = ["hunt", str(model), "layers.1.hidden", "--corpus", str(corpus), "--evaluations", "10000"]
    assert main([*arguments, "-o", str(worst)]) == 0
    said = capsys.readouterr().out
    assert f"{rare_pair.FIRST} {rare_pair.SECOND}" in said
    assert is_finds(worst)
    both = pytester.path / "both.jsonl"
    both.write_text(corpus.read_text() + worst.read_text())
    failing = _failing(pytester, *gate, f"--maxact-corpus={both}")
    assert any("layers.1.hidden::max_abs" in check for check in failing)


def _failing(pytester: pytest.Pytester, *arguments: str) -> list[str]:
    result = pytester.runpytest(*arguments, "-rfE")
    return [line for line in result.stdout.lines if line.startswith(("FAILED", "ERROR"))]


def test_a_state_file_goes_on_and_json_tells_everything(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state.json"
    common = ["hunt", str(checkpoint), "--corpus", str(corpus), "--json", "--state", str(state), "--evaluations"]
    found = []
    for evaluations in ("200", "600"):
        assert main([*common, evaluations]) == 0
        found.append(json.loads(capsys.readouterr().out)[0])
    assert found[0]["evaluations"] < found[1]["evaluations"]
    assert found[1]["found"] >= found[0]["found"]
    assert found[1]["ratio"] == pytest.approx(found[1]["found"] / found[1]["corpus"])
    assert main(["hunt", str(checkpoint), "layers.0.hidden", *common[2:], "600"]) == 4
    assert "the state of another search" in capsys.readouterr().err


def test_ids_of_this_very_tokenizer_are_run_as_they_are_and_others_are_asked_about(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, tmp_path: Path
) -> None:
    worst = tmp_path / "worst.jsonl"
    assert main(["hunt", str(checkpoint), "--corpus", str(corpus), "--evaluations", "100", "-o", str(worst)]) == 0
    other = tiny.save(tmp_path / "other", tiny.random_model("qwen3", seed=4), tiny.word_tokenizer(reverse=True))
    run_gate(
        pytester, f"--maxact-model={other}", f"--maxact-corpus={worst}", refuses="is given as input_ids, and of which"
    )
    worst.write_text("no line of ours\n")
    assert main(["hunt", str(checkpoint), "--corpus", str(corpus), "--evaluations", "9", "-o", str(worst)]) == 4
    assert worst.read_text() == "no line of ours\n"


def test_a_gate_searches_by_itself_and_keeps_what_it_finds(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path
) -> None:
    gate = [f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "--maxact-family=generic"]
    hunt = ["--maxact-hunt=carrier", "--maxact-hunt=layers.0.gate", "--maxact-hunt-seconds=1"]
    run_gate(
        pytester, *gate, *hunt, "--maxact-hunt-out=worst.jsonl", "--maxact-save=r", exit=0,
        says=["layers.0.gate", "x the corpus; after"],
    )  # fmt: skip
    record = load(pytester.path / "r")
    assert record.hunt is not None
    assert [one.site for one in record.hunt] == [record.carrier.site.name, "layers.0.gate"]
    assert all(one.found >= one.corpus for one in record.hunt)
    run_gate(pytester, f"--maxact-model={checkpoint}", "--maxact-corpus=worst.jsonl", "--maxact-save=w")
    again = load(pytester.path / "w")
    assert again["layers.0.gate"].max_abs == pytest.approx(record.hunt[1].found, rel=1e-5)


def test_a_find_above_the_limit_of_its_site_fails_the_gate_that_found_it(pytester: pytest.Pytester) -> None:
    """Of a pair of rare words that no sample of the corpus has: its own check fails, and no site's."""
    model, corpus = rare_pair.save_rare_pair(pytester.path, 80_000.0)
    gate = [f"--maxact-model={model}", "--maxact-family=generic", f"--maxact-corpus={corpus}"]
    failing = _failing(pytester, *gate, "--maxact-hunt=layers.1.hidden", "--maxact-hunt-seconds=8")
    assert not [check for check in failing if "layers.1.hidden::max_abs" in check]
    (found,) = [check for check in failing if "hunt::" in check]
    assert found.startswith("FAILED maxact::hunt::max_abs")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--maxact-hunt=layers.9.hidden"], "no site 'layers.9.hidden'"),
        (["--maxact-hunt-seconds=5"], "--maxact-hunt-seconds does nothing without --maxact-hunt"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_loads(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, arguments: list[str], says: str
) -> None:
    run_gate(pytester, f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", *arguments, refuses=says)


def test_a_model_that_is_nan_on_its_corpus_does_not_pass_whatever_is_found(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tiny.random_model("qwen3")
    with torch.no_grad():
        broken.get_parameter("layers.2.mlp.down_proj.weight")[3] = torch.nan
    model = tiny.save(tmp_path / "model", broken)
    for site in ("layers.0.hidden", "carrier"):
        assert main(["hunt", str(model), site, "--corpus", str(corpus), "--evaluations", "9"]) == 1
        assert "maxact: NaN or infinite on the corpus at layers.2.hidden and " in capsys.readouterr().err
    assert main(["cause", str(model), "--corpus", str(corpus)]) == 1
    assert "could not measure: layers.2.hidden is NaN or infinite on the corpus" in capsys.readouterr().err
