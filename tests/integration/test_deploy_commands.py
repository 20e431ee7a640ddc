"""Fitness on the command line, and what a bf16 pass says of FP16."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import save
from pytest_maxact.record.metrics.value import beyond_fp16
from tests.support import tiny
from tests.support.gate_runs import run_gate
from tests.support.measuring import record_of
from tests.support.metrics import value_of

# FP16


def test_what_a_bf16_pass_says_of_fp16_is_what_fp16_does(
    pytester: pytest.Pytester, corpus: Path, tmp_path: Path
) -> None:
    """70 144 at one token of layer 1: predicted from the bfloat16 model, and seen where the same weights run in
    float16.
    """
    texts = tiny.write_corpus(tmp_path / "peak.jsonl", tiny.sentences([5, 9, 7, 12, 6, 8], peak=(3, 4)))
    model = tiny.save(tmp_path / "llama", tiny.planted_model("llama", layer=1, value=70144.0))
    predicted = record_of(model, texts, dtype="bf16")
    assert [reading.site.name for reading in beyond_fp16(predicted)] == [
        "layers.1.hidden",
        "layers.1.mlp_output",
        "layers.2.hidden",
    ]
    result = run_gate(
        pytester,
        f"--maxact-model={model}",
        f"--maxact-corpus={texts}",
        "--maxact-family=generic",
        "--maxact-dtype=bf16",
        "--maxact-schemes=FP16",
    )
    text = " ".join(result.stdout.str().split())
    assert (
        "does not fit: 3 sites above 65 504 or not finite: layers.1.mlp_output" in text
        or "does not fit: 3 sites" in text
    )
    assert "layers.1.mlp_output" in text
    real = record_of(model, texts, dtype="fp16")
    broken = [name for name, reading in real.sites.items() if reading.nonfinite]
    assert broken[0] in ("layers.1.hidden", "layers.1.mlp_output")
    assert set(broken) >= {"layers.1.hidden", "layers.1.mlp_output"}
    assert not any(real[name].nonfinite for name in ("layers.0.hidden", "layers.1.attn_output"))
    for name in ("layers.1.mlp_output", "layers.1.hidden"):
        assert value_of(predicted[name], "FP16.headroom") < 1
        assert value_of(predicted[name], "FP16.clip_rate") == pytest.approx(1 / predicted[name].count)
        assert real[name].nonfinite >= 1


# Commands


def test_weights_need_no_forward_pass(
    loud: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.nn.Module.__call__", lambda *args, **kwargs: pytest.fail("a module was run"))
    assert main(["weights", str(loud), "--schemes", "W8A8,MXFP4A16"]) == 0
    text = capsys.readouterr().out
    assert "W8A8: worst is" in text
    assert len([line for line in text.splitlines() if line[:1].isdigit()]) == tiny.LAYERS
    assert main(["weights", str(loud), "--schemes", "W8A8", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert len(data) == 7 * tiny.LAYERS
    assert data["layers.0.self_attn.q_proj.weight"]["W8A8"]["sqnr_db"] > 35


def test_a_scheme_that_fits_no_weight_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    narrow = tiny.save(tmp_path / "narrow", tiny.random_model("qwen3", intermediate_size=96))
    assert main(["weights", str(narrow), "--schemes", "W8A8,W4A16"]) == 4
    said = capsys.readouterr().err
    assert "W4A16 fits none of" in said
    assert "is no multiple of its groups of 128\n  name other schemes with --schemes" in said


def test_the_site_map_shows_linear_inputs_on_request(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sites", str(sound), "--sites", "deploy", "--json"]) == 0
    sites = {entry["site"]: entry for entry in json.loads(capsys.readouterr().out)["sites"]}
    assert sites["layers.1.qkv_in"]["modules"] == [f"layers.1.self_attn.{name}_proj" for name in "qkv"]
    assert sites["layers.1.down_in"]["modules"] == ["layers.1.mlp.down_proj"]


def test_export_writes_what_a_quantization_step_asks_for(
    sound: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = record_of(sound, corpus, sites="deploy")
    save(record, tmp_path / "r")
    assert main(["export", str(tmp_path / "r"), "--smoothquant", str(tmp_path / "smooth.safetensors")]) == 0
    assert "21 tensors" in capsys.readouterr().out
    with safe_open(tmp_path / "smooth.safetensors", framework="pt") as file:
        amax = file.get_tensor("layers.2.mlp.down_proj")
        assert torch.equal(file.get_tensor("layers.0.self_attn.q_proj"), file.get_tensor("layers.0.self_attn.v_proj"))
    assert amax.shape == (128,)
    assert main(["export", str(tmp_path / "r"), "--scales", "fp8", str(tmp_path / "fp8.safetensors")]) == 0
    with safe_open(tmp_path / "fp8.safetensors", framework="pt") as file:
        scale = file.get_tensor("layers.2.mlp.down_proj.input_scale")
    assert scale.item() == pytest.approx(amax.max().item() / 448, rel=0.01)


def test_show_gives_schemes_weights_and_effects_to_a_program(
    sound: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(record_of(sound, corpus, schemes=("W8A8",), effect=("W8A8",)), tmp_path / "r")
    assert main(["show", str(tmp_path / "r"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["effects"]["W8A8"]["tokens"] > 0
    site = data["sites"]["layers.1.down_in"]
    assert site["schemes"]["W8A8"]["sqnr_db"] > 20
    assert site["weights"]["layers.1.mlp.down_proj.weight"]["W8A8"]["sqnr_db"] > 20
