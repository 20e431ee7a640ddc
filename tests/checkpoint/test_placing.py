"""Every tensor of the files has one place in the model, and every matrix in low bits a scale."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.settings.settings import Settings
from tests.support import tiny


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def add(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(
        {**load_file(folder / "model.safetensors"), **tensors}, folder / "model.safetensors", metadata={"format": "pt"}
    )


def loaded(folder: Path) -> None:
    settings = Settings(model=str(folder))
    load(locate(settings), settings)


@pytest.mark.parametrize("name", ["norm.weight", "layers.1.mlp.up_proj.weight", "embed_tokens.weight"])
@pytest.mark.parametrize("value", [None, float("nan")], ids=["the same", "nan"])
def test_a_tensor_with_and_without_the_prefix_of_the_model_is_refused(
    name: str, value: float | None, copy: Path
) -> None:
    tensor = load_file(copy / "model.safetensors")[name]
    add(copy, {f"model.{name}": tensor.clone() if value is None else torch.full_like(tensor, value)})
    with pytest.raises(MeasureError, match=f"{name} and model.{name} are both given for one place in the model"):
        loaded(copy)


def test_so_is_one_in_a_second_shard(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").rename(copy / "model-1.safetensors")
    save_file({"model.norm.weight": tensors["norm.weight"]}, copy / "model-2.safetensors", metadata={"format": "pt"})
    places = dict.fromkeys(tensors, "model-1.safetensors") | {"model.norm.weight": "model-2.safetensors"}
    (copy / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    with pytest.raises(MeasureError, match=r"norm.weight and model.norm.weight are both given"):
        loaded(copy)


def test_experts_one_by_one_beside_the_same_ones_fused_are_refused(tmp_path: Path) -> None:
    model = tiny.random_model("qwen3_moe")
    folder = tiny.save(tmp_path / "m", model)
    loaded(folder)
    fused = "layers.1.mlp.experts.gate_up_proj"
    add(folder, {fused: model.get_parameter(fused).detach().clone()})
    with pytest.raises(MeasureError, match="are both given for one place in the model"):
        loaded(folder)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("nobody", "quantized with nobody, which this version does not gate"),
        ("modelopt", "no quant_algo is not read, of ModelOpt's FP8"),
        (None, r"quantized with a method that it does not name \(8 bits\), which"),
        ("fp8", "no scale lies beside it, though .* says fp8\n  its values cannot be told|says .* are fp8, and .* I8"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_weights_in_low_bits_without_scales_are_not_measured_whatever_the_config_says(
    method: str | None, said: str, dtype: torch.dtype, copy: Path
) -> None:
    name = "layers.1.mlp.up_proj.weight"
    add(copy, {name: (load_file(copy / "model.safetensors")[name] * 8).to(dtype)})
    stated = json.loads((copy / "config.json").read_text())
    stated["quantization_config"] = {"quant_method": method} if method else {"bits": 8}
    (copy / "config.json").write_text(json.dumps(stated))
    with pytest.raises(InputError, match=said):
        loaded(copy)
