"""Texts of others in any field of a Record, and in names of tensors, are text in what is printed, or are refused."""

from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.cli.main import main
from tests.support.hostile import NAMES, obeyed
from tests.support.hostile_fields import MIXED, Field, all_hostile, fields_of, with_texts
from tests.support.linting import changed
from tests.support.paths import RECORDS

RECORD = RECORDS / "deploy.safetensors"
COMMANDS = (["show", "-v"], ["judge", "-v", "--close", "fail"], ["suggest"], ["trust"], ["compare", str(RECORD)])


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints, looked at."""
    capsys.readouterr()
    assert main(words) in (0, 1, 4)
    told = "".join(capsys.readouterr())
    assert list(obeyed(told)) == []
    return told


@pytest.mark.parametrize("field", fields_of(RECORD), ids=".".join)
def test_a_name_in_any_field_is_text_or_refused(
    field: Field, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    record = str(with_texts(RECORD, tmp_path / "r.safetensors", [field]))
    for words in COMMANDS:
        printed([*words, record], capsys)


def test_limits_proposed_from_it_are_a_limits_file(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, limits = str(all_hostile(saved, tmp_path)), str(tmp_path / "limits.yaml")
    assert "limits.yaml: written" in printed(["suggest", "--limits", limits, "--update", "new", record], capsys)
    assert printed(["judge", "-q", "--limits", limits, record], capsys).startswith("PASS")


def test_names_of_tensors_are_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(["lint", str(changed(tmp_path / "export", "compressed FP8 kv", _with_tensors))], capsys)
    assert "FAULT" in told
    assert "owned" in told


def _with_tensors(tensors: dict[str, Any], config: dict[str, Any]) -> None:
    scale = tensors["model.layers.0.mlp.down_proj.weight_scale"]
    for name, text in NAMES.items():
        if name != "surrogate":  # no header of a file holds one
            tensors[f"model.layers.0.{text}.weight_scale"] = scale.clone()
    config["architectures"] = [MIXED]
