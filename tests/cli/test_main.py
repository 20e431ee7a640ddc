"""The `maxact` command: measure, judge, show, and their exit codes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import load, save
from tests.support import tiny
from tests.support.gate_runs import drop_tensor


def test_measure_says_what_it_wrote(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["measure", str(checkpoint), "-o", str(tmp_path / "r"), "--corpus", str(corpus), "--max-samples", "6"])
        == 0
    )
    captured = capsys.readouterr()
    assert f"{tmp_path / 'r'}: M 1" in captured.out
    assert "tokens, 14 sites" in captured.out
    assert "100 %" in captured.err


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
    assert "M        1" in text


def test_judge_passes_and_fails_with_pytests_exit_codes(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
        (["judge", "/no/record-*"], "maxact judge takes one Record, and /no/record-* is a pattern"),
        (["show", "/no/record"], "no Record at /no/record"),
        (["measure", "/no/model", "-o", "x"], "no model at /no/model"),
    ],
)  # fmt: skip
def test_a_bad_request_exits_with_4_and_says_what(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
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


# -- sites
# ----------------------------------------------------------------------------------------------------


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """A bare config.json of a mixture of experts with prediction layers."""
    (tmp_path / "bare").mkdir()
    config = tiny.config_of("bailing_hybrid", num_nextn_predict_layers=1)
    (tmp_path / "bare" / "config.json").write_text(config.to_json_string())
    return tmp_path / "bare" / "config.json"


def test_sites_prints_the_map_of_a_bare_config(
    configured: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for path in (configured, configured.parent):
        assert main(["sites", str(path)]) == 0
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 80
        assert text.startswith("bailing_hybrid: 3 layers x 64, 16 sites")
        assert "linear attention" in text
        assert "layers.*.mlp.experts " in text
        assert "multi-token prediction  1 layers beyond the decoder's 3" in text


def test_sites_as_json_names_every_site_and_what_is_left_out(
    configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sites", str(configured), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["layers"], data["model_type"]) == (3, json.loads(configured.read_text())["model_type"])
    by_name = {entry["site"]: entry for entry in data["sites"]}
    assert by_name["layers.1.router"] | {"detail": ""} == {
        "site": "layers.1.router",
        "kind": "router",
        "layer": 1,
        "module": "layers.1.mlp.gate",
        "modules": ["layers.1.mlp.gate"],
        "detail": "",
    }
    assert by_name["layers.1.gate"]["modules"] == ["layers.1.mlp.experts", "layers.1.mlp.shared_experts.gate_proj"]
    assert by_name["embedding"]["layer"] is None
    assert data["left_out"] == [
        {"what": "multi-token prediction", "why": "1 layers beyond the decoder's 3", "by_design": False}
    ]


def test_sites_are_those_of_the_record(checkpoint: Path, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:

    assert main(["sites", str(checkpoint), "--json"]) == 0
    assert [entry["site"] for entry in json.loads(capsys.readouterr().out)["sites"]] == list(load(saved).sites)


def test_sites_loads_no_weights(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    (broken / "model.safetensors").write_bytes(b"not weights")
    assert main(["sites", str(broken)]) == 0
    assert "qwen3: 3 layers x 64, 14 sites" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "model.safetensors",
            "x",
            "is a file\n  give the folder that holds config.json and the weights, or the config.json itself",
        ),
        ("config.json", "{", "not readable as JSON"),
        ("config.json", "[]", "list where an object was expected"),
        ("config.json", '{"model_type": "no_such"}', "transformers cannot read this config"),
        (
            "config.json",
            '{"model_type": "blt"}',
            "blt cannot be measured: its global transformer works on patches of bytes",
        ),
        ("config.json", '{"model_type": "vit"}', "names no token embedding"),
    ],
)
def test_sites_of_what_is_no_language_model_is_a_bad_request(
    name: str, content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(content)
    assert main(["sites", str(tmp_path / name)]) == 4
    assert message in capsys.readouterr().err


def test_what_a_checkpoint_leaves_out_is_in_its_record(checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    from tests.support.measuring import record_of

    folder = tiny.save(tmp_path / "wrapper", tiny.random_model("gemma3"))
    record = record_of(folder, corpus)
    assert "vision_tower: not part of the language backbone" in record.provenance.left_out
    assert load(_saved(record, tmp_path)).provenance.left_out == record.provenance.left_out


def _saved(record: Any, folder: Path) -> Path:
    save(record, folder / "record")
    return folder / "record"


def test_its_errors_name_its_own_options(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", str(checkpoint), "-o", str(tmp_path / "r"), "--device", "cuda:7"]) == 4
    text = capsys.readouterr().err
    assert "--device cuda:7: not available here" in text
    assert "--maxact-" not in text
