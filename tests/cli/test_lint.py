"""`maxact lint`: what it prints, and how it ends."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import save
from tests.support import records
from tests.support.defects import DEFECTS
from tests.support.linting import changed, export, planted


def test_a_sound_checkpoint_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(export("compressed W4A16"))]) == 0
    assert "nothing is wrong with its tensors" in capsys.readouterr().out


def test_a_record_is_no_checkpoint_that_could_be_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(records.record({"layers.0.hidden": [[1.0, 2.0]]}), tmp_path / "run.safetensors")
    assert main(["lint", str(tmp_path / "run.safetensors")]) == 4
    said = capsys.readouterr()
    assert "a Record, and no weights" in said.err
    assert said.out == ""


def test_a_fault_is_told_with_tensor_layer_runtime_and_what_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    folder = planted(tmp_path / "export", DEFECTS["W4A16: one negative scale"])
    assert main(["lint", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "model.layers.1.self_attn.q_proj.weight_scale (layer 1)" in out
    assert "runtime:" in out
    assert "mend:" in out
    assert "1 fault" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_format_that_only_the_config_has_is_told_with_its_file_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def widened(tensors: dict, config: dict) -> None:  # type: ignore[type-arg]
        for key in list(tensors):
            if not key.endswith("weight") and "proj" in key:
                del tensors[key]
        for name in {key.rpartition(".")[0] for key in before if key.endswith("weight_packed")}:
            tensors[f"{name}.weight"] = torch.zeros(8, 8, dtype=torch.bfloat16)

    before = load_file(export("compressed W4A16") / "model.safetensors")
    monkeypatch.setenv("COLUMNS", "120")
    folder = changed(tmp_path / ("export" * 2), "compressed W4A16", widened)
    assert main(["lint", str(folder)]) == 1
    title, beside, *lines = capsys.readouterr().out.splitlines()
    assert title == str(folder)
    assert beside.startswith("compressed-tensors")
    (told,) = [line for line in lines if "no tensor is in low bits" in line]
    assert told.startswith(" - config.json: quantization_config says compressed-tensors, pack-quantized, and")


def test_of_many_of_a_kind_the_first_are_shown_and_all_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def strip(tensors: dict, config: dict) -> None:  # type: ignore[type-arg]
        for key in [key for key in tensors if key.endswith("weight_scale")]:
            del tensors[key]

    folder = changed(tmp_path / "export", "compressed W4A16", strip)
    assert main(["lint", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "(14)" in out
    assert "and 9 more" in out
    assert "14 faults" in out


def test_json_has_every_finding_with_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = planted(tmp_path / "export", DEFECTS["experts NVFP4: one that calibration never reached"])
    assert main(["lint", str(folder), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["red"] == found["counts"]["input_scale_missing"] == 1
    assert found["findings"][0]["expert"] == 2
    assert found["findings"][0]["source"].startswith("https://")


def test_remarks_count_where_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def ones(tensors: dict, config: dict) -> None:  # type: ignore[type-arg]
        for key in [key for key in tensors if key.endswith(("k_scale", "v_scale"))]:
            tensors[key].fill_(1.0)

    folder = changed(tmp_path / "ones", "compressed FP8 kv", ones)
    assert main(["lint", str(folder)]) == 0
    assert "remark" in capsys.readouterr().out
    assert main(["lint", str(folder), "--strict"]) == 1


@pytest.mark.parametrize("name", ["absent", "empty", "weights.bin"])
def test_what_is_no_checkpoint_is_a_wrong_request(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.bin").write_bytes(b"x")
    assert main(["lint", str(tmp_path / name)]) == 4
    assert "give the" in capsys.readouterr().err


def test_a_pipe_in_the_place_of_weights_is_none_and_waits_for_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text((export("plain") / "config.json").read_text())
    os.mkfifo(tmp_path / "model.safetensors")
    assert main(["lint", str(tmp_path)]) == 4
    assert "no " in capsys.readouterr().err
