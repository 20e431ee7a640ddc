"""`maxact judge`: verdicts and exit codes."""

from pathlib import Path

import pytest

from pytest_maxact.cli.main import main


def test_judge_passes_and_fails_with_pytests_exit_codes(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["judge", str(saved)]) == 0
    assert "16 M: all 58 checks hold" in capsys.readouterr().out
    limits = tmp_path / "limits.yaml"
    limits.write_text("version: 1\nfamilies:\n  mine: {model_types: [qwen3], limits: {hidden: 0.5}}\n")
    assert main(["judge", str(saved), "--limits", str(limits)]) == 1
    out = capsys.readouterr().out
    assert "FAIL: 3 of 23 checks do not hold" in out
    assert "limits.yaml:3" in out


def test_a_record_of_another_protocol_is_not_judged_by_these_limits(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deployed"
    assert main(["measure", str(checkpoint), "-o", str(path), "--corpus", str(corpus), "--protocol", "deployed"]) == 0
    assert main(["judge", str(path)]) == 4
    assert "hold for protocol 'paper', the measurement is of protocol 'deployed'" in capsys.readouterr().err
    assert main(["judge", str(path), "--family", "generic"]) == 0
