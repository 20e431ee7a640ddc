"""Weights in low bits: told before any are loaded what they are; measured where they are given back as they were meant,
and said to be.
"""

import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.checkpoint.quantized import stored_as
from pytest_maxact.errors import InputError
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.measuring import record_of
from tests.support.quantized import FP8, in_fp8, in_mxfp4, packed, restated, rewritten

MODELOPT = '{"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}}'


@pytest.fixture
def model(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "model"))


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        locate(Settings(model=str(folder)))
    assert len(str(caught.value).splitlines()) in (2, 3)
    return str(caught.value)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"quant_method": "quark", "bits": 4, "group_size": 128}, "quark (4 bits)"),
        ({"quant_method": "hqq", "weight_format": "int4"}, "hqq (int4)"),
        ({"quant_method": "torchao", "quant_type": "int4"}, "torchao (int4)"),
        ({"quant_method": "somebody"}, "somebody"),
        ({"bits": 3}, "a method that it does not name (3 bits)"),
    ],
)
@pytest.mark.parametrize("where", ["quantization_config", "compression_config"])
def test_what_is_not_gated_is_named_before_it_is_loaded(
    stated: dict[str, Any], words: str, where: str, model: Path
) -> None:
    restated(packed(model), **{where: stated})
    assert refusal(model) == (
        f"{model}/config.json: {where} says that the weights are quantized with {words}, which this version does not "
        "gate\n"
        "  gate the checkpoint before it was quantized; `deploy` SCHEME tells there what low bits cost"
    )


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("quantize_config.json", '{"bits": 4, "group_size": 128}', "gptq (4 bits)"),
        ("quant_config.json", '{"zero_point": true, "w_bit": 4}', "awq (4 bits)"),
    ],
)
def test_files_beside_a_config_that_says_nothing_are_read(file: str, content: str, words: str, model: Path) -> None:
    (packed(model) / file).write_text(content)
    text = refusal(model)
    assert "layers.0.mlp.down_proj.qweight is I32, and no qzeros lies beside it" in text
    assert f"{file} says {words}" in text


def test_the_integers_of_mlx_are_named(model: Path) -> None:
    restated(packed(model, "weight", torch.uint32), quantization={"bits": 4, "group_size": 64})
    assert "quantized with mlx (4 bits)" in refusal(model)


@pytest.mark.parametrize("name", ["qweight", "weight_packed", "weight"])
def test_integers_of_which_nobody_says_anything_are_refused_by_name(name: str, model: Path) -> None:
    text = refusal(packed(model, name))
    assert f"layers.0.mlp.down_proj.{name} and 20 more weights are I32, of which config.json says nothing" in text


@pytest.mark.parametrize(
    "stated", [FP8, {"quant_method": "mxfp4"}, {"quant_method": "gptq", "bits": 4}, {"load_in_8bit": True}]
)
def test_a_config_that_says_low_bits_beside_files_that_hold_none_is_refused_with_both(
    stated: dict[str, Any], model: Path
) -> None:
    text = refusal(restated(model, quantization_config=stated))
    assert "quantization_config says that the weights are" in text
    assert "and the files hold none in low bits, only float32\n" in text


def test_so_is_what_modelopt_left_beside_weights_in_16_bits_and_nothing_that_no_loader_reads(model: Path) -> None:
    (model / "quantize_config.json").write_text('{"bits": 4}')
    restated(model, quantization_config=None)
    assert locate(Settings(model=str(model)))
    (model / "hf_quant_config.json").write_text(MODELOPT)
    assert "hf_quant_config.json says that the weights are modelopt (NVFP4), and the files hold none" in refusal(model)


def test_low_bits_of_another_kind_than_the_config_says_are_refused_with_both(model: Path) -> None:
    text = refusal(restated(in_fp8(model), quantization_config={"quant_method": "mxfp4"}))
    assert "quantization_config says that the weights are mxfp4, and the files hold F8_E4M3\n" in text


def test_an_encoders_counters_and_masks_are_no_weights_in_low_bits(model: Path) -> None:
    rewritten(
        model,
        lambda tensors: {
            **tensors,
            "embeddings.position_ids": torch.arange(8)[None],
            "layers.0.self_attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.uint8),
        },
    )
    assert locate(Settings(model=str(model)))


def test_weights_in_fp8_are_measured_as_they_are_meant_and_said_to_be_stored_so(
    model: Path, checkpoint: Path, corpus: Path
) -> None:
    before, after = record_of(checkpoint, corpus), record_of(in_fp8(model), corpus)
    assert before.provenance.stored == ""
    ours = f"pytest-maxact {version('pytest-maxact')}"
    assert after.provenance.stored == f"fp8 (e4m3), 8 bits in groups of 32, dequantized by {ours}"
    for name, reading in before.sites.items():
        assert after.sites[name].max_abs == pytest.approx(reading.max_abs, rel=0.25)


def test_experts_in_mxfp4_are_measured_in_16_bits(tmp_path: Path) -> None:
    folder = in_mxfp4(tiny.save(tmp_path / "m", tiny.random_model("gpt_oss").bfloat16()))
    settings = Settings(model=str(folder))
    found = locate(settings)
    loaded = load(found, settings)
    assert loaded.dtype == "bfloat16"
    experts = loaded.model.get_parameter("layers.0.mlp.experts.gate_up_proj")
    assert experts.dtype == torch.bfloat16
    assert experts.abs().max() == 6 * 2.0 ** (122 - 127)
    assert loaded.files is not None
    assert loaded.files is not None
    theirs = f"transformers {version('transformers')}"
    assert stored_as(loaded.files, loaded.dtype) == f"mxfp4, 4 bits in groups of 32, dequantized by {theirs}"


@pytest.mark.parametrize(("dtype", "words"), [(torch.float32, ""), (torch.bfloat16, "bfloat16, and cast on loading")])
def test_a_dtype_in_the_files_other_than_the_configs_is_said(
    dtype: torch.dtype, words: str, model: Path, corpus: Path
) -> None:
    rewritten(model, lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()})
    provenance = record_of(model, corpus).provenance
    assert (provenance.dtype, provenance.stored) == ("float32", words)


@pytest.fixture
def broken_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """transformers as it fails on another machine."""

    def fail(error: Exception) -> None:
        from transformers import AutoModel

        def from_pretrained(*args: Any, **kwargs: Any) -> None:
            raise error

        monkeypatch.setattr(AutoModel, "from_pretrained", from_pretrained)

    return fail


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ImportError("Loading an FP8 quantized model requires accelerate"), "install what it names"),
        (torch.OutOfMemoryError("CUDA out of memory."), "they do not fit the memory of cpu; choose another"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "they do not fit the memory of cpu"),
        (RuntimeError("something else"), "see that transformers loads it"),
    ],
)
def test_what_helps_where_loading_fails_follows_from_why(
    error: Exception, advice: str, model: Path, broken_off: Callable[[Exception], None]
) -> None:
    from pytest_maxact.errors import MeasureError

    broken_off(error)
    settings = Settings(model=str(model))
    with pytest.raises(MeasureError, match=f"{str(error)[:12]}.*\n  {advice}"):
        load(locate(settings), settings)
