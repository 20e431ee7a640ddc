"""`maxact trust`: how far a Record can be trusted, for a person and for a program."""

import json
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main


def test_a_measured_record_tells_a_person_and_a_program_of_its_maxima(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    full, slim = tmp_path / "full", tmp_path / "slim"
    assert main(["measure", str(checkpoint), "-o", str(full), "--corpus", str(corpus)]) == 0
    assert main(["measure", str(checkpoint), "-o", str(slim), "--corpus", str(corpus), "--slim"]) == 0
    capsys.readouterr()
    assert main(["show", str(full)]) == 0
    assert "the next sample lies above it in" in " ".join(capsys.readouterr().out.split())
    assert main(["trust", str(full), str(slim), "--json"]) == 0
    told, dropped = json.loads(capsys.readouterr().out)
    assert told["M"]["value"] == max(
        site["value"] for name, site in told["sites"].items() if not name.endswith((".gate", ".router"))
    )
    assert told["M"]["saturation"]["tokens"][-1] == told["tokens"]
    assert (dropped["M"], dropped["sites"]) == (None, {})
    assert "--slim" in dropped["untold"][0]
    assert main(["trust", str(full)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "grows?" in text


def test_a_corpus_that_has_no_subsets_of_a_thousand_is_refused(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trust", str(saved), "--paper-bootstrap"]) == 4
    assert "no subsets of 1000" in capsys.readouterr().err
