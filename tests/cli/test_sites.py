"""`maxact sites`: the map of a checkpoint or a config."""

import json
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import load
from tests.support import tiny
from tests.support.static_scales import artifact


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
        assert "multi-token prediction  1 layer beyond the decoder's 3" in text


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
        {"what": "multi-token prediction", "why": "1 layer beyond the decoder's 3", "by_design": False}
    ]


def test_what_is_read_for_static_scales_alone_stands_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sites", str(artifact())]) == 0
    plain, _, scaled = capsys.readouterr().out.partition("for static scales alone, where there is one\n")
    assert "down_in" not in plain
    assert "down_in  0-5     layers.*.mlp.down_proj" in scaled
    assert main(["sites", str(artifact()), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert "layers.0.k" in data["scaled"]
    assert not {entry["site"] for entry in data["sites"]} & set(data["scaled"])
    assert main(["sites", str(artifact()), "--sites=paper", "--json"]) == 0
    assert "scaled" not in json.loads(capsys.readouterr().out)


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
            "is a safetensors file with no config.json beside it\n  give the folder of a checkpoint",
        ),
        (
            "notes",
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
