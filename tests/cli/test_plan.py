"""`maxact plan`: where a model would live, what that takes and how long it lasts; of a config alone too."""

import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from pytest_maxact.cli.main import main

GIB = 1 << 30
SHAPES = {
    "70b": {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64},
    "405b": {"hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126, "num_attention_heads": 128},
}


def config_of(folder: Path, shape: str) -> Path:
    folder.mkdir()
    config = AutoConfig.for_model("llama", **SHAPES[shape], num_key_value_heads=8, vocab_size=128256, dtype="bfloat16")
    (folder / "config.json").write_text(config.to_json_string())
    return folder / "config.json"


def planned(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, object]:
    assert main(["plan", *arguments, "--json"]) == code
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(
    ("shape", "devices", "how", "weights"),
    [
        ("70b", "cpu:512GiB", "whole", 131),
        ("70b", "cuda*4:80GiB,cpu:64GiB", "split", 131),
        ("70b", "cuda:141GiB,cuda:192GiB,cpu:64GiB", "whole", 131),
        ("405b", "cuda*16:80GiB,cpu:64GiB", "split", 755),
    ],
)
def test_large_shapes_are_planned_from_a_config_alone(
    shape: str, devices: str, how: str, weights: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = planned(capsys, str(config_of(tmp_path / shape, shape)), "--devices", devices)
    assert str(plan["chosen"]).partition(", ")[2].startswith(f"{how}: ")
    assert plan["needs"]["weights"] // GIB == weights  # type: ignore[index]
    assert plan["tokens_estimated"] is True


def test_what_fits_nowhere_ends_with_the_exit_code_of_what_cannot_be_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(config_of(tmp_path / "405b", "405b"))
    plan = planned(capsys, config, "--devices", "cpu:2GiB", code=1)
    assert plan["chosen"] is None
    assert "GiB are free" in str(plan["against"])
    assert main(["plan", config, "--devices", "cpu:2GiB"]) == 1
    assert "fits nowhere as asked" in capsys.readouterr().out


def test_a_checkpoint_here_is_planned_with_its_own_tokens_and_the_speeds_of_this_machine(
    checkpoint: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = planned(capsys, str(checkpoint), "--corpus", str(corpus), "--devices", "cpu:16GiB")
    assert plan["tokens_estimated"] is False
    assert plan["flops"] > 0  # type: ignore[operator]
    assert plan["disk_bytes_per_second"] > 0  # type: ignore[operator]
    whole = plan["ways"][0]  # type: ignore[index]
    assert (whole["how"], whole["fits"]) == ("whole", True)
    tokens, each, speed = (float(str(plan[name])) for name in ("tokens", "flops_per_token", "flops"))
    assert whole["seconds"] == pytest.approx(1.2 * tokens * each / speed)


def test_a_device_that_is_not_here_is_planned_without_its_speed_and_says_so(
    checkpoint: Path, corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["plan", str(checkpoint), "--corpus", str(corpus), "--devices", "cuda*2:80GiB,cpu:16GiB"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "cuda:0 is not on this machine" in text.replace("\n", " ")


@pytest.mark.parametrize("devices", ["tpu:4GiB", "cpu", ""])
def test_devices_that_cannot_be_read_are_a_wrong_request(
    devices: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(checkpoint), "--devices", devices]) == (4 if devices else 0)
