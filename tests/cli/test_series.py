"""`maxact series`: limits from a file below the home folder."""

import json
import shutil
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main


def test_the_limits_file_may_lie_below_the_home_folder(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    limits = "version: 1\nfamilies:\n  mine: {model_types: [qwen3], limits: {hidden: 100000}}\n"
    (tmp_path / "limits.yaml").write_text(limits)
    records = [str(shutil.copy(saved, tmp_path / f"checkpoint-{step}.maxact.safetensors")) for step in (1, 2, 3)]
    arguments = ["series", *records, "--horizon", "100", "--json"]
    assert main([*arguments, "--limits", "~/limits.yaml"]) == 0
    json.loads(capsys.readouterr().out)
    assert main([*arguments, "--limits", "~/none.yaml"]) == 4
    assert f"no limits file at {tmp_path / 'none.yaml'}" in capsys.readouterr().err
