"""The `maxact` command: measure, judge, show, and their exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_maxact.cli import main
from tests import tiny
from tests.gate_runs import drop_tensor


def test_measure_says_what_it_wrote(checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", str(checkpoint), "-o", str(tmp_path / "r"), "--corpus", str(corpus), "--max-samples", "6"]) == 0
    captured = capsys.readouterr()
    assert f"{tmp_path / 'r'}: M 1" in captured.out
    assert "tokens, 14 sites" in captured.out
    assert "100 %" in captured.err


def test_show_prints_json_for_a_program(checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", str(checkpoint), "-o", str(tmp_path / "r"), "--corpus", str(corpus)]) == 0
    capsys.readouterr()
    assert main(["show", str(tmp_path / "r"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {"model", "family", "protocol", "tokens", "M", "sites"} <= set(data)
    assert {"value", "site", "sample", "position", "token", "channel"} <= set(data["M"])
    assert (data["family"], data["protocol"], data["tokens"]) == ("qwen3", "paper", 87)
    assert data["sites"]["layers.0.hidden"]["max_abs"] > 0
    assert data["M"]["value"] == max(site["max_abs"] for site in data["sites"].values() if site["kind"] not in ("gate", "router"))


def test_show_prints_a_table_for_a_person_within_80_columns(
    saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["show", str(saved)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b[" not in text
    assert "M        1" in text


def test_judge_passes_and_fails_with_pytests_exit_codes(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", str(saved)]) == 0
    assert "PASS: all 29 checks hold" in capsys.readouterr().out
    limits = tmp_path / "limits.yaml"
    limits.write_text("version: 1\nfamilies:\n  mine: {model_types: [qwen3], limits: {hidden: 0.5}}\n")
    assert main(["judge", str(saved), "--limits", str(limits)]) == 1
    out = capsys.readouterr().out
    assert "FAIL: 3 of 17 checks do not hold" in out
    assert "limits.yaml:3" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["judge", "/no/record"], "no Record at /no/record"),
        (["show", "/no/record"], "no Record at /no/record"),
        (["measure", "/no/model", "-o", "x"], "no model at /no/model"),
    ],
)  # fmt: skip
def test_a_bad_request_exits_with_4_and_says_what(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 4
    assert message in capsys.readouterr().err


def test_a_bad_option_exits_with_4(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["measure", "m", "-o", "x", "--dtype", "int8"])
    assert stopped.value.code == 4
    assert "'int8' is not one of auto, bf16, fp16, fp32" in capsys.readouterr().err


def test_what_cannot_be_measured_exits_with_1(tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny.save(tmp_path / "partial", tiny.random_model("qwen3"))
    drop_tensor(folder, "layers.1.mlp.up_proj.weight")
    assert main(["measure", str(folder), "-o", str(tmp_path / "r"), "--corpus", str(corpus)]) == 1
    assert "could not measure" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_show_and_judge_import_no_torch(saved: Path) -> None:
    code = "import sys; from pytest_maxact.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    for command in ("show", "judge"):
        subprocess.run([sys.executable, "-c", code, command, str(saved)], check=True, capture_output=True)


def test_a_record_of_another_protocol_is_not_judged_by_these_limits(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deployed"
    assert main(["measure", str(checkpoint), "-o", str(path), "--corpus", str(corpus), "--protocol", "deployed"]) == 0
    assert main(["judge", str(path)]) == 4
    assert "hold for protocol 'paper', the measurement is of protocol 'deployed'" in capsys.readouterr().err
    assert main(["judge", str(path), "--family", "generic"]) == 0
