"""The KV cache on the command line: what is planted in keys turns the gate red, schemes of the cache are reported and
gated, and scales are exported that lint finds sound.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import load, save
from tests.support.exports import compressed
from tests.support.gate_runs import run_gate
from tests.support.measuring import record_of
from tests.support.paths import REPOSITORY, TRAINED
from tests.support.trained import change_weights

SMALL = ("--maxact-family=generic", "--maxact-max-tokens=16000")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python that the trained checkpoint predicts, a few hundred tokens a sample."""
    source = Path(json.__file__).parent
    lines = [
        json.dumps({"id": f"{file.stem}-{start}", "text": text[start : start + 700], "category": "code"})
        for file in sorted(source.glob("*.py"))
        for text in [file.read_text()]
        for start in range(0, min(len(text), 4200), 700)
    ]
    path = tmp_path_factory.mktemp("texts") / "code.jsonl"
    path.write_text("\n".join(lines[:16]) + "\n")
    return path


@pytest.fixture(scope="module")
def attended(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Record of the trained checkpoint with attention and every usual cache."""
    path = tmp_path_factory.mktemp("attended") / "attended.safetensors"
    save(record_of(TRAINED, texts, sites="attention", effect=("KV_FP8", "KV_FP8_ONE")), path)
    return path


def test_the_trained_checkpoint_is_green_and_its_caches_are_reported(pytester: pytest.Pytester, attended: Path) -> None:
    result = run_gate(pytester, f"--maxact-replay={attended}", "--maxact-family=generic", "-k", "ratio or attn")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["KV_FP8 *yes*", "KV_FP8_ONE *yes*"])


def test_the_case_of_the_page_is_what_a_run_prints(pytester: pytest.Pytester, tmp_path: Path) -> None:
    model = shutil.copytree(TRAINED, tmp_path / "planted")
    change_weights(model, lambda tensors: tensors["model.layers.3.self_attn.k_norm.weight"][5:6].mul_(300))
    result = run_gate(
        pytester, f"--maxact-model={model}", "--maxact-sites=attention", "--maxact-max-samples=8",
        "--maxact-max-seq-len=128",
    )  # fmt: skip

    def form(text: str) -> str:
        return re.sub(r"[0-9.]+", "#", " ".join(text.split()))

    page = (REPOSITORY / "docs" / "kv_cache.md").read_text().partition("## A case")[2]
    shown = [line for line in page.splitlines() if line.startswith("- layers.3.k")]
    assert len(shown) == 2
    for line in shown:
        assert form(line) in form(result.stdout.str())


def test_a_loud_channel_of_keys_turns_the_gate_red_by_layer_head_and_channel(
    pytester: pytest.Pytester, tmp_path: Path, texts: Path
) -> None:
    model = shutil.copytree(TRAINED, tmp_path / "loud")
    change_weights(model, lambda tensors: tensors["model.layers.3.self_attn.k_norm.weight"][5:6].mul_(300))
    result = run_gate(
        pytester, f"--maxact-model={model}", f"--maxact-corpus={texts}", *SMALL, "--maxact-sites=attention"
    )
    assert result.ret == 1
    words = " ".join(result.stdout.str().split())
    assert "layers.3.k: head " in words
    assert ", channel 5 and channel 21 reach " in words  # rotary embedding turns one into the other
    assert "maxact::layers.3.k::channel_ratio" in words


def test_fitness_of_a_cache_is_a_set_of_checks(pytester: pytest.Pytester, attended: Path) -> None:
    result = run_gate(
        pytester, f"--maxact-replay={attended}", "--maxact-family=generic", "--maxact-deploy=KV_FP8", "-k", "KV_FP8"
    )
    assert result.ret == 0
    listed = run_gate(
        pytester, f"--maxact-replay={attended}", "--maxact-family=generic", "--maxact-deploy=KV_FP8", "--co", "-q"
    ).stdout.str()
    for check in ("layers.0.k::KV_FP8.sqnr_db", "layers.0.k::KV_FP8.centred_sqnr_db", "layers.5.v::KV_FP8.sqnr_db"):
        assert f"maxact::{check}" in listed
    assert "layers.0.v::KV_FP8.centred_sqnr_db" not in listed
    assert "model::KV_FP8.mean_kl" in listed
    lacking = run_gate(
        pytester, f"--maxact-replay={attended}", "--maxact-family=generic", "--maxact-deploy=W8A8+KV_FP8"
    )
    assert lacking.ret == 4
    lacking.stderr.fnmatch_lines(["*W8A8+KV_FP8*was not measured under it*"])


def test_a_program_is_told_of_caches(attended: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(attended), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["sites"]["layers.2.k"]["schemes"]["KV_FP8"]["sqnr_db"] > 25
    assert data["sites"]["layers.2.k"]["cached"]["KV_FP8.centred_sqnr_db"] > 10
    assert 1 < data["sites"]["layers.2.v"]["cached"]["channel_ratio"] < 10
    assert data["effects"]["KV_FP8"]["mean_kl"] >= 0


def test_scales_of_a_record_lie_in_an_export_and_lint_finds_them_sound(
    attended: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kv.safetensors"
    assert main(["export", str(attended), "--kv-scales", str(file)]) == 0
    record, scales = load(attended), load_file(file)
    layers = record.provenance.layers
    assert set(scales) == {f"model.layers.{i}.self_attn.{kind}_scale" for i in range(layers) for kind in "kv"}
    for layer in range(layers):
        reading = record[f"layers.{layer}.k"]
        largest = max(reading.max_abs, reading.as_deployed or 0.0)
        assert scales[f"model.layers.{layer}.self_attn.k_scale"].item() == pytest.approx(largest / 448)
    export = compressed.export(tmp_path / "export", preset="FP8", kv_cache=True, origin=TRAINED)
    tensors = load_file(export / "model.safetensors")
    own = {name for name in tensors if name.endswith(("k_scale", "v_scale"))}
    assert own == set(scales)
    save_file(
        {**tensors, **{name: scale.to(torch.float32) for name, scale in scales.items()}}, export / "model.safetensors"
    )
    capsys.readouterr()
    assert main(["lint", str(export), "--strict"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(("scheme", "top"), [("KV_NVFP4", 6 * 448), ("kv_nvfp4_4over6", 6 * 448), ("KV_INT8", 127)])
def test_scales_of_another_cache_are_over_its_own_largest_number(
    attended: Path, tmp_path: Path, scheme: str, top: float
) -> None:
    file = tmp_path / "kv.safetensors"
    assert main(["export", str(attended), "--kv-scales", str(file), "--kv-scheme", scheme]) == 0
    reading = load(attended)["layers.2.v"]
    largest = max(reading.max_abs, reading.as_deployed or 0.0)
    assert load_file(file)["model.layers.2.self_attn.v_scale"].item() == pytest.approx(largest / top)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kv-scales", "FILE", "--kv-scheme", "KV_NVFP4_ONE"], "KV_NVFP4_ONE takes no scale for keys or values"),
        (["--kv-scales", "FILE", "--kv-scheme", "KV_FP8_HEAD"], "KV_FP8_HEAD takes no scale for keys or values"),
        (["--kv-scales", "FILE", "--kv-scheme", "W8A8"], "there are KV_FP8, KV_FP8_EXACT, KV_INT8, KV_NVFP4, "),
        (["--smoothquant", "FILE", "--kv-scheme", "KV_FP8"], "--kv-scheme is of --kv-scales FILE"),
    ],
)
def test_a_cache_without_a_scale_of_its_own_has_none_to_write(
    attended: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    file = tmp_path / "kv.safetensors"
    assert main(["export", str(attended), *(str(file) if one == "FILE" else one for one in arguments)]) == 4
    assert words in capsys.readouterr().err
    assert not file.exists()


def test_a_record_without_attention_makes_no_scales(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(saved), "--kv-scales", str(tmp_path / "kv.safetensors")]) == 4
    assert "observed no keys and values" in capsys.readouterr().err
    assert not (tmp_path / "kv.safetensors").exists()
