"""`--maxact-stress`: inputs that no corpus has, apart from its figures; one that breaks the model fails the gate."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.cli.main import main
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure import run, stress, trials
from pytest_maxact.record.file import load
from pytest_maxact.record.record import Record
from tests.support import tiny
from tests.support.gate_runs import run_gate
from tests.support.measuring import encoded, loaded
from tests.support.records import histogram


def test_a_gate_reports_stress_apart_and_the_corpus_keeps_its_figures(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, saved: Path
) -> None:
    run_gate(
        pytester, f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "--maxact-family=generic",
        "--maxact-stress", "--maxact-save=r", exit=0, says=["x that of the corpus"],
    )  # fmt: skip
    stressed, plain = load(pytester.path / "r"), load(saved)
    assert stressed.sites == plain.sites
    assert stressed.stress is not None
    assert stressed.stress.scanned == stressed.stress.vocabulary == 64
    run_gate(pytester, "--maxact-replay=r", "--maxact-family=generic", exit=0, says=["of the corpus"])
    run_gate(pytester, f"--maxact-replay={saved}", "--maxact-family=generic", exit=0, lacks=["that of the corpus"])


@pytest.fixture(scope="module")
def breaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3 that is sound on text, and breaks on a token that no text of the corpus has."""
    model: Any = tiny.random_model("qwen3", seed=1)
    with torch.no_grad():
        model.get_input_embeddings().weight[tiny.word_tokenizer().get_vocab()["</s>"], 3] = torch.inf
    return tiny.save(tmp_path_factory.mktemp("breaking") / "model", model)


def test_an_input_that_breaks_the_model_fails_though_the_corpus_does_not(
    breaking: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "r.safetensors"
    assert main(["stress", str(breaking), "--corpus", str(corpus), "-o", str(record)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "NaN or infinite at" in said
    assert "the first embedding under first token" in said
    assert not any(reading.nonfinite for reading in load(record).sites.values())
    assert main(["judge", str(record), "--family", "generic"]) == 1
    assert "stress nonfinite: 14 exceeds 0" in capsys.readouterr().out


def test_a_corpus_that_breaks_the_model_fails_though_the_stress_set_does_not(
    checkpoint: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = run.measure

    def measured(*given: Any) -> Record:
        record = measure(*given)
        held = replace(record["embedding"].held, evaluation=histogram([math.nan]))
        return replace(record, sites={**record.sites, "embedding": replace(record["embedding"], held=held)})

    monkeypatch.setattr(run, "measure", measured)
    assert main(["stress", str(checkpoint), "--corpus", str(corpus)]) == 1
    assert "NaN or infinite at 1 of 14 sites on the corpus itself" in capsys.readouterr().out


def test_the_command_tells_a_program_every_site_and_recipe(
    checkpoint: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stress", str(checkpoint), "--corpus", str(corpus), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["first_tokens"] == {"scanned": 64, "vocabulary": 64}
    assert told["ratio"] == pytest.approx(told["M"] / told["corpus_M"])
    assert set(told["sites"]["embedding"]["by_recipe"]) == set(told["recipes"])
    assert max(recipe["M"] for recipe in told["recipes"].values()) == told["M"]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MeasureError("layers.1.hidden: no room\n  take less"), "layers.1.hidden: no room"),
        (IndexError("index out of range in self"), "IndexError: index out of range in self"),
    ],
)
def test_what_breaks_a_stress_set_takes_nothing_from_the_corpus(
    pytester: pytest.Pytester, checkpoint: Path, corpus: Path, saved: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], error: Exception, says: str,
) -> None:  # fmt: skip
    def broken(*given: Any, **named: Any) -> Any:
        raise error

    monkeypatch.setattr(trials, "measure_stress", broken)
    record = pytester.path / "r.safetensors"
    assert main(["stress", str(checkpoint), "--corpus", str(corpus), "-o", str(record)]) == 1
    assert says in capsys.readouterr().err
    assert load(record).sites == load(saved).sites
    result = run_gate(
        pytester, f"--maxact-replay={record}", "--maxact-family=generic", exit=1, says=["could not be tried: "]
    )
    failed = [line for line in result.stdout.lines if line.startswith("FAILED")]
    assert [line.split()[1] for line in failed] == ["maxact::stress::nonfinite"]


def test_parts_of_a_corpus_are_not_tried(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", str(checkpoint), "--stress", "--shard", "1/2", "-o", str(tmp_path / "r")]) == 4
    assert "--stress: what is tried is chosen by all of a corpus" in capsys.readouterr().err


def test_few_first_tokens_are_tried_where_every_sequence_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stress, "_ALONE", 16)
    model = loaded(tiny.random_model("qwen3"))
    told = stress.measure_stress(
        model, resolve(model.decoder, model.decoder.config), tiny.word_tokenizer(), encoded([6, 9]), context=16,
        batch_tokens=512, seed=0, tokens=200, alone=True,
    )  # fmt: skip
    assert told.vocabulary == 64
    assert 16 <= told.scanned < 24
