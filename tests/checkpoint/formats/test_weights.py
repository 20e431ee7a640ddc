"""Weights in low bits, given back: equal bit for bit to what the library that owns a format makes of them, and to what
our own schemes make of the source.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
from compressed_tensors.entrypoints.convert import CompressedTensorsDequantizer
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from pytest_maxact.checkpoint.quantize import quantize
from pytest_maxact.numbers.schemes import SCHEMES
from tests.support.exports import awq, compressed, fp8_block, gptq, modelopt, mxfp4
from tests.support.exports.every import PRESETS
from tests.support.exports.source import KINDS, Tensors, fused_with, linears_of, restored, source, tensors_of
from tests.support.trained import change_weights


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(tmp_path_factory.mktemp("origin") / "qwen3", num_hidden_layers=1)


@pytest.fixture(scope="module", params=KINDS[1:])
def another(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(tmp_path_factory.mktemp("another") / request.param, request.param, num_hidden_layers=1)


def same(found: Tensors, wanted: Tensors, names: list[str]) -> None:
    assert names
    for name in names:
        assert torch.equal(found[name].bfloat16(), wanted[name].bfloat16()), name


def projections(folder: Path) -> list[str]:
    return [f"{module}.weight" for module, _ in linears_of(tensors_of(folder))]


def loaded_by_transformers(folder: Path, **stated: Any) -> Tensors:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **stated)
    return dict(model.state_dict())


@pytest.mark.parametrize("preset", PRESETS)
def test_those_of_compressed_tensors_are_what_it_makes_of_them(preset: str, origin: Path, tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", preset, origin)
    wanted = CompressedTensorsDequantizer(folder, ignore=["model.embed_tokens"]).process(tensors_of(folder))
    same(restored(folder), wanted, projections(origin))


@pytest.mark.parametrize("preset", [name for name in PRESETS if name in SCHEMES])
def test_they_are_what_our_scheme_of_that_name_makes_of_the_source(preset: str, origin: Path, tmp_path: Path) -> None:
    found = restored(compressed.export(tmp_path / "m", preset, origin))
    matrices, how = dict(linears_of(tensors_of(origin))), SCHEMES[preset].weights
    assert how is not None
    for module, matrix in matrices.items():
        together = torch.stack([matrices[name].abs().amax() for name in fused_with(module)]).amax()
        amax = together if how.scale == "e4m3" else None
        assert torch.equal(found[f"{module}.weight"].bfloat16(), quantize(matrix, how, amax).restored), module


@pytest.mark.parametrize("preset", ["W8A8", "W4A16_ASYM", "NVFP4"])
def test_another_architecture_and_experts_one_by_one_are_read_alike(preset: str, another: Path, tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", preset, another)
    wanted = CompressedTensorsDequantizer(folder, ignore=["model.embed_tokens"]).process(tensors_of(folder))
    same(restored(folder), wanted, projections(another))


def test_groups_in_the_order_of_activations_are_those_of_their_inputs(origin: Path, tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", "W4A16_ASYM", origin)
    name = "model.layers.0.mlp.gate_proj.weight"
    plain = restored(folder)[name]
    change_weights(folder, lambda tensors: tensors.update({f"{name}_g_idx": torch.arange(256) // 128}))
    assert torch.equal(restored(folder)[name], plain)
    change_weights(folder, lambda tensors: tensors.update({f"{name}_g_idx": torch.arange(256) % 2}))
    found, stored = restored(folder)[name], tensors_of(folder)
    shape, scale = stored[f"{name}_shape"], stored[f"{name}_scale"]
    levels = unpack_from_int32(stored[f"{name}_packed"], 4, shape)
    zeros = unpack_from_int32(stored[f"{name}_zero_point"], 4, (shape[0], scale.shape[1]), packed_dim=0)
    for column in range(0, 256, 13):
        group = column % 2
        wanted = (levels[:, column] - zeros[:, group]).to(scale.dtype) * scale[:, group]
        assert torch.equal(found[:, column], wanted)


def test_blocks_in_fp8_are_what_transformers_makes_of_them(tmp_path: Path) -> None:
    origin = source(tmp_path / "origin", num_hidden_layers=1, num_key_value_heads=4)
    folder = fp8_block.export(tmp_path / "m", origin)
    same(restored(folder), loaded_by_transformers(folder), projections(origin))


@pytest.mark.parametrize("block", [128, 96])
def test_blocks_that_do_not_divide_a_side_are_those_that_the_config_states(
    block: int, origin: Path, tmp_path: Path
) -> None:
    folder = fp8_block.export(tmp_path / "m", origin, block=block)
    found, stored = restored(folder), tensors_of(folder)
    assert stored["model.layers.0.self_attn.k_proj.weight"].shape == (64, 256)
    for name in projections(origin):
        levels, scales = stored[name].float(), stored[f"{name}_scale_inv"]
        for row in range(0, levels.shape[0], 31):
            for column in range(0, levels.shape[1], 17):
                wanted = levels[row, column] * scales[row // block, column // block]
                assert found[name][row, column] == wanted


def test_stacks_in_mxfp4_are_what_transformers_makes_of_them(tmp_path: Path) -> None:
    folder = mxfp4.export(tmp_path / "m")
    found = restored(folder)
    wanted = loaded_by_transformers(folder, quantization_config=_dequantizing())
    same(found, wanted, [name for name in found if name.endswith(("gate_up_proj", "down_proj"))])


def _dequantizing() -> Any:
    from transformers import Mxfp4Config

    return Mxfp4Config(dequantize=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"act_order": True},
        {"version": 2},
        {"bits": 8, "group": -1, "symmetric": True},
        {"bits": 2, "group": 128, "act_order": True},
        {"version": 2, "act_order": True},
        {"bits": 3, "group": 128},
        {"bits": 3, "version": 2, "act_order": True},
    ],
    ids=["v1", "act-order", "v2", "8 bits of a row", "2 bits", "v2 act-order", "3 bits", "3 bits v2 act-order"],
)
def test_those_of_gptq_are_what_its_definition_says(options: dict[str, Any], origin: Path, tmp_path: Path) -> None:
    folder = gptq.export(tmp_path / "m", origin, **options)
    found, stored = restored(folder), tensors_of(folder)
    bits, offset = options.get("bits", 4), 2 - options.get("version", 1)
    for name in projections(origin):
        parts = {part: stored[name.replace("weight", part)] for part in ("qweight", "qzeros", "scales", "g_idx")}
        for row in range(0, found[name].shape[0], 23):
            for column in range(0, found[name].shape[1], 29):
                assert found[name][row, column] == _by_definition(parts, row, column, bits, offset)


def _by_definition(parts: Tensors, row: int, column: int, bits: int, offset: int) -> torch.Tensor:
    """One entry of GPTQ, with whole numbers of Python."""
    group = int(parts["g_idx"][column])
    level = _in_stream(parts["qweight"][:, row], column, bits)
    zero = _in_stream(parts["qzeros"][group], row, bits) + offset
    return torch.tensor(float(level - zero), dtype=torch.float16) * parts["scales"][group, row]


def _in_stream(words: torch.Tensor, place: int, bits: int) -> int:
    """The integer at a place of a stream of bits, the first in the lowest."""
    stream = sum((int(word) & 0xFFFFFFFF) << (32 * number) for number, word in enumerate(words))
    return stream >> (place * bits) & ((1 << bits) - 1)


@pytest.mark.parametrize("symmetric", [False, True])
def test_those_of_awq_are_what_its_definition_says(symmetric: bool, origin: Path, tmp_path: Path) -> None:
    folder = awq.export(tmp_path / "m", origin, symmetric=symmetric)
    found, stored = restored(folder), tensors_of(folder)
    place = [awq.ORDER.index(entry) for entry in range(8)]
    for name in projections(origin):
        weight, scales = (stored[name.replace("weight", part)] for part in ("qweight", "scales"))
        zeros = stored.get(name.replace("weight", "qzeros"))
        for row in range(0, found[name].shape[0], 23):
            for column in range(0, found[name].shape[1], 29):
                shift, group = place[row % 8] * 4, column // 64
                level = int(weight[column, row // 8]) >> shift & 15
                zero = 8 if zeros is None else int(zeros[group, row // 8]) >> shift & 15
                wanted = torch.tensor(float(level - zero), dtype=torch.float16) * scales[group, row]
                assert found[name][row, column] == wanted


def test_an_export_in_four_bits_by_gptq_or_awq_is_near_its_source(origin: Path, tmp_path: Path) -> None:
    plain = tensors_of(origin)
    for number, export in enumerate((gptq.export, awq.export)):
        found = restored(export(tmp_path / f"{number}", origin))
        for name in projections(origin):
            error = (found[name].float() - plain[name].float()).norm() / plain[name].float().norm()
            assert 0 < error < 0.15


@pytest.mark.parametrize("in_config", [False, True])
def test_those_of_modelopt_are_levels_times_scales(in_config: bool, origin: Path, tmp_path: Path) -> None:
    fp8 = modelopt.export(tmp_path / "fp8", "FP8", origin, in_config=in_config)
    fp4 = modelopt.export(tmp_path / "fp4", "NVFP4", origin, in_config=in_config)
    found, stored = restored(fp8), tensors_of(fp8)
    for name in projections(origin):
        assert torch.equal(found[name], stored[name].float() * stored[f"{name}_scale"])
    found, stored = restored(fp4), tensors_of(fp4)
    magnitudes = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    for name in projections(origin):
        scales, above = stored[f"{name}_scale"].float(), stored[f"{name}_scale_2"]
        for row in range(0, found[name].shape[0], 23):
            for column in range(0, found[name].shape[1], 29):
                code = int(stored[name][row, column // 2]) >> (column % 2 * 4) & 15
                level = magnitudes[code & 7] * (-1 if code & 8 else 1)
                assert found[name][row, column] == level * (scales[row, column // 16] * above)


def test_parts_of_a_weight_may_lie_in_several_files(origin: Path, tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", "NVFP4", origin)
    whole, stored = restored(folder), tensors_of(folder)
    halves = [dict(list(stored.items())[start::2]) for start in (0, 1)]
    (folder / "model.safetensors").unlink()
    for number, half in enumerate(halves):
        save_file(half, folder / f"part-{number}.safetensors", metadata={"format": "pt"})
    places = {name: f"part-{number}.safetensors" for number, half in enumerate(halves) for name in half}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    same(restored(folder), whole, list(whole))
