"""Matrices are quantized as the model multiplies with them, however its files store them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from pytest_maxact.checkpoint.weights import stored as stored
from tests.support import tiny
from tests.support.distortions import assert_equal, edited, errors_of, expected, flat, saved
from tests.support.zoo import composite, configs


def test_conv1d_keeps_its_weight_transposed(tmp_path: Path) -> None:
    folder = saved(tmp_path, configs.build("gpt2"))
    raw = load_file(folder / "model.safetensors")
    found = flat(errors_of(folder, ("W8A8", "FP8", "MXFP8")))
    assert len(found) == 16
    for path, by_scheme in found.items():
        for name in ("W8A8", "FP8"):
            assert_equal(by_scheme[name], expected([raw[f"transformer.{path}"].T.contiguous()], name))
    assert not found["h.0.mlp.c_fc.weight"]["MXFP8"].refused
    assert found["h.0.mlp.c_proj.weight"]["MXFP8"].refused == "44 is no multiple of its groups of 32"


PER_EXPERT = {
    "qwen3_moe": ("layers.1.mlp.experts.{}.{}.weight", ("gate_proj", "up_proj"), "down_proj"),
    "mixtral": ("layers.1.block_sparse_moe.experts.{}.{}.weight", ("w1", "w3"), "w2"),
}


@pytest.mark.parametrize("model_type", PER_EXPERT)
def test_matrices_of_single_experts_are_joined_in_the_stacked_weight_they_make_up(
    model_type: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path, tiny.random_model(model_type))
    raw = load_file(folder / "model.safetensors")
    pattern, into, back = PER_EXPERT[model_type]
    found = flat(errors_of(folder, ("W8A8", "FP8", "NVFP4", "MXFP4")))
    for name in ("W8A8", "FP8", "NVFP4", "MXFP4"):
        parts = [raw[pattern.format(number, part)] for part in into for number in range(8)]
        assert_equal(found["layers.1.mlp.experts.gate_up_proj"][name], expected(parts, name))
        parts = [raw[pattern.format(number, back)] for number in range(8)]
        assert_equal(found["layers.1.mlp.experts.down_proj"][name], expected(parts, name))


def test_gate_and_up_stacked_as_one_in_the_file_share_a_scale_per_expert(tmp_path: Path) -> None:
    model = tiny.random_model("qwen3_moe")
    folder = saved(tmp_path, model)
    with torch.no_grad():
        for layer in model.layers:
            layer.mlp.experts.gate_up_proj[:, :32] *= 2.0**18
    stacked = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    save_file(stacked, folder / "model.safetensors", metadata={"format": "pt"})
    found = flat(errors_of(folder, ("FP8",)))["layers.1.mlp.experts.gate_up_proj"]["FP8"]
    whole = stacked["layers.1.mlp.experts.gate_up_proj"]
    assert_equal(found, expected(list(whole), "FP8"))
    assert found.flush_to_zero > 0.3


@pytest.mark.parametrize("model_type", ["gpt_oss", "llama4_text", "aria_text", "longcat_flash", "jetmoe"])
def test_rows_of_stacked_experts_are_what_the_forward_pass_sums_over_inputs(model_type: str, tmp_path: Path) -> None:
    """An entry of the input that is zero hides the weights it is multiplied with, and these lie along a row [out,
    in].
    """
    model = configs.headless(configs.build(model_type))
    folder = saved(tmp_path, model)
    found = flat(errors_of(folder, ("W8A8",)))
    for path, by_scheme in found.items():
        parameter = model.get_parameter(path)
        if parameter.ndim == 3:
            axis = input_axis(model_type, model, path)
            matrices = [matrix if axis == 1 else matrix.T.contiguous() for matrix in parameter.detach()]
            wanted = expected(matrices, "W8A8")
            for name in ("lowest_db", "most_flushed"):  # some files hold gate and up apart
                wanted[name] = getattr(by_scheme["W8A8"], name)
            assert_equal(by_scheme["W8A8"], wanted)


def input_axis(model_type: str, model: Any, path: str) -> int:
    """Along which side of its matrices a stacked weight is multiplied with inputs: that of which an entry does nothing
    where the input is zero; or the other one than that of which an entry moves a single output.
    """
    experts, parameter = model.get_submodule(path.rpartition(".")[0]), model.get_parameter(path)
    torch.manual_seed(0)
    into = "gate_up" in path or "input_linear" in path
    count, width = (
        parameter.shape[0],
        (model.config.hidden_size if into or model_type != "jetmoe" else parameter.shape[2]),
    )
    states = torch.randn(count, width)
    states[:, 3] = 0.0

    def run() -> Any:
        if model_type == "llama4_text":
            return experts(states)
        if model_type == "jetmoe":
            return experts(states, [1] * count)
        real = getattr(experts, "num_routed_experts", count)
        chosen = torch.arange(real)
        return experts(states[:real], torch.stack([chosen, (chosen + 1) % real], dim=1), torch.ones(real, 2))

    before, found = run(), []
    for axis in (0, 1):
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.select(axis + 1, 3).add_(1.0)
            moved = (run() - before).abs().amax(dim=0) > 0
            parameter.copy_(kept)
        if into and not moved.any():
            found.append(axis)
        if not into and moved.sum() == 1:
            found.append(1 - axis)
    assert len(found) == 1
    return found[0]


def test_a_fused_projection_in_the_file_is_quantized_as_one_and_told_apart_by_its_rows(tmp_path: Path) -> None:
    folder = saved(tmp_path, configs.build("hrm_text"))

    def uneven(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.L_module.layers.0.attn.gqkv_proj.weight"][:32] *= 2.0**18

    raw = load_file(edited(folder, uneven) / "model.safetensors")["model.L_module.layers.0.attn.gqkv_proj.weight"]
    found = flat(errors_of(folder, ("W8A8", "FP8")))
    for index, part in enumerate(("gate", "q", "k", "v")):
        rows = slice(32 * index, 32 * index + 32)
        for name in ("W8A8", "FP8"):
            assert_equal(found[f"L_module.layers.0.self_attn.{part}_proj.weight"][name], expected([raw], name, rows))
    assert found["L_module.layers.0.self_attn.q_proj.weight"]["FP8"].flush_to_zero > 0.3


def test_a_list_of_experts_that_two_weights_share_is_dealt_out_as_loading_deals_it(tmp_path: Path) -> None:
    folder = saved(tmp_path, composite.headless("ernie4_5_vl_moe"))
    raw = load_file(folder / "model.safetensors")
    count = sum(name.startswith("layers.1.mlp.experts.") and name.endswith("down_proj.weight") for name in raw) // 2
    found = flat(errors_of(folder, ("FP8",)))
    path = "language_model.layers.1.mlp.text_moe.experts"
    for weight, parts in (("gate_up_proj", ("gate_proj", "up_proj")), ("down_proj", ("down_proj",))):
        matrices = [raw[f"layers.1.mlp.experts.{number}.{part}.weight"] for part in parts for number in range(count)]
        assert_equal(found[f"{path}.{weight}"]["FP8"], expected(matrices, "FP8"))


def test_a_file_that_holds_experts_transposed_is_quantized_as_the_model_has_them(tmp_path: Path) -> None:
    folder = saved(tmp_path, composite.headless("qwen3_vl_moe"))
    loaded = AutoModel.from_pretrained(folder)
    path = "language_model.layers.1.mlp.experts.gate_up_proj"
    name = next(
        name for name in load_file(folder / "model.safetensors") if "layers.1." in name and "gate_up_proj" in name
    )

    def transposed(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = loaded.get_parameter(path).detach().transpose(1, 2).contiguous()

    found = flat(errors_of(edited(folder, transposed)))
    assert_equal(found[path]["W8A8"], expected(list(loaded.get_parameter(path).detach()), "W8A8"))
