"""`maxact show`: a Record for a person and for a program."""

import json
import re
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main


def test_show_prints_json_for_a_program(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["measure", str(checkpoint), "-o", str(tmp_path / "r"), "--corpus", str(corpus)]) == 0
    capsys.readouterr()
    assert main(["show", str(tmp_path / "r"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {"model", "family", "protocol", "tokens", "M", "sites"} <= set(data)
    assert {"value", "site", "sample", "position", "token", "channel"} <= set(data["M"])
    assert (data["family"], data["protocol"], data["tokens"]) == ("qwen3", "paper", 87)
    assert data["sites"]["layers.0.hidden"]["max_abs"] > 0
    assert data["M"]["value"] == max(
        site["max_abs"] for site in data["sites"].values() if site["kind"] not in ("gate", "router")
    )


def test_show_prints_a_table_for_a_person_within_80_columns(
    saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["show", str(saved)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b[" not in text
    assert re.search(r"^M +1", text, re.MULTILINE)
