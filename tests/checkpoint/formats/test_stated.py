"""Weights in low bits that lack a part, or are of a kind that is not read, are refused by name before any are loaded;
what lies beside them is kept.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_maxact.checkpoint.load import load
from pytest_maxact.checkpoint.locate import locate, with_weights
from pytest_maxact.checkpoint.quantized import stored_as
from pytest_maxact.cli import main
from pytest_maxact.errors import InputError
from pytest_maxact.measure.low_bits import low_bits_of
from pytest_maxact.record.low_bits import LowBits
from pytest_maxact.settings.settings import Settings
from tests.support.exports import awq, compressed, fp8_block, gptq, modelopt, mxfp4
from tests.support.exports.source import Tensors, source, tensors_of, written
from tests.support.quantized import restated

Q_PROJ, DOWN_PROJ = "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(tmp_path_factory.mktemp("origin") / "qwen3", num_hidden_layers=1)


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        locate(Settings(model=str(folder)))
    assert len(str(caught.value).splitlines()) in (2, 3)
    return str(caught.value)


def changed(folder: Path, change: Callable[[Tensors], object]) -> Path:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def without(name: str) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.pop(name)


@pytest.mark.parametrize(
    ("export", "options", "lost", "said"),
    [
        (compressed.export, {"preset": "W8A8"}, "weight_scale", "weight is I8, and no weight_scale lies beside it"),
        (compressed.export, {"preset": "W4A16"}, "weight_scale", "weight_packed is I32, and no weight_scale lies"),
        (compressed.export, {"preset": "W4A16_ASYM"}, "weight_zero_point", "no weight_zero_point lies beside it"),
        (compressed.export, {"preset": "NVFP4"}, "weight_global_scale", "no weight_global_scale lies beside it"),
        (compressed.export, {"preset": "MXFP4"}, "weight_packed", "U8, which compressed-tensors (mxfp4-pack-quant"),
        (fp8_block.export, {}, "weight_scale_inv", "weight is F8_E4M3, and no scale lies beside it"),
        (gptq.export, {}, "qzeros", "qweight is I32, and no qzeros lies beside it"),
        (awq.export, {}, "scales", "qweight is I32, and no scales lies beside it"),
        (modelopt.export, {"algo": "FP8"}, "weight_scale", "weight is F8_E4M3, and no weight_scale lies beside it"),
        (modelopt.export, {"algo": "NVFP4"}, "weight_scale_2", "weight is U8, and no weight_scale_2 lies beside it"),
    ],
)
def test_a_weight_that_lacks_a_part_is_named(
    export: Any, options: dict[str, str], lost: str, said: str, origin: Path, tmp_path: Path
) -> None:
    text = refusal(changed(export(tmp_path / "m", origin=origin, **options), without(f"{Q_PROJ}.{lost}")))
    assert Q_PROJ in text
    assert said in text


def test_a_stack_without_its_scales_is_named(tmp_path: Path) -> None:
    folder = changed(mxfp4.export(tmp_path / "m"), without("model.layers.0.mlp.experts.down_proj_scales"))
    assert "down_proj_blocks is U8, and no model.layers.0.mlp.experts.down_proj_scales lies" in refusal(folder)


def test_a_module_that_is_quantized_and_listed_as_ignored_is_named(origin: Path, tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", origin=origin)
    stated = locate(Settings(model=str(folder))).quantized
    assert stated is not None
    restated(folder, quantization_config={**stated.entries, "ignore": ["lm_head", f"re:.*{Q_PROJ[-6:]}"]})
    assert "lists its module under `ignore` (re:.*q_proj)" in refusal(folder)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "4 bits as gemv is not read"),
        ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "the layout marlin is not read"),
        ({"quant_method": "gptq", "bits": 5}, "in 5 bits is not read"),
        ({"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"}, "W4A8_AWQ is not read"),
        ({"quant_method": "compressed-tensors", "format": "marlin-24", "config_groups": {}}, "no group of"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {},
                "transform_config": {"config_groups": {"R4": {"type": "hadamard", "apply": [{"location": "input"}]}}},
            },
            "the transform R4 runs with the model",
        ),
        ({"quant_method": "gptq", "bits": 4, "dynamic": [1]}, "cannot be read (AttributeError"),
    ],
)
def test_a_layout_that_is_not_read_is_named(stated: dict[str, Any], said: str, origin: Path, tmp_path: Path) -> None:
    export = compressed.export if "config_groups" in stated else gptq.export
    assert said in refusal(restated(export(tmp_path / "m", origin=origin), quantization_config=stated))


def test_scales_of_another_grid_than_the_blocks_are_refused(origin: Path, tmp_path: Path) -> None:
    def cut(tensors: Tensors) -> None:
        name = f"{Q_PROJ}.weight_scale_inv"
        tensors[name] = tensors[name][:, :1].contiguous()

    text = refusal(changed(fp8_block.export(tmp_path / "m", origin), cut))
    assert "its scales are [1, 1], where blocks of 128 x 128 of [128, 256] were stated" in text


def low_bits(folder: Path) -> LowBits:
    settings = Settings(model=str(folder))
    found = low_bits_of(with_weights(locate(settings), settings))
    assert found is not None
    return found


def test_static_scales_are_kept_as_the_inputs_that_they_reach(origin: Path, tmp_path: Path) -> None:
    found = low_bits(compressed.export(tmp_path / "fp8", "FP8", origin, kv_cache=True))
    assert found.activations == "fp8_e4m3 per tensor, static"
    assert found.reach[Q_PROJ] == pytest.approx(6.0, rel=1e-6)
    assert found.cache["model.layers.0.self_attn.k_scale"] == pytest.approx(0.02)
    assert len(found.reach) == 7
    for name, export in (
        ("nvfp4", lambda folder: compressed.export(folder, "NVFP4", origin)),
        ("modelopt", lambda folder: modelopt.export(folder, "FP8", origin)),
        ("modelopt4", lambda folder: modelopt.export(folder, "NVFP4", origin, kv_cache=True)),
    ):
        held = low_bits(export(tmp_path / name))
        assert held.reach[Q_PROJ] == pytest.approx(6.0, rel=1e-6), name
        assert held.activations.endswith("static")
    assert held.cache["model.layers.0.self_attn.k_proj.k_scale"] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ("W8A8", "int8 per token, dynamic"), ("FP8_BLOCK", "fp8_e4m3 per group of 128, dynamic"), ("W4A16", ""),
        ("MXFP4", "fp4_e2m1 per group of 32, dynamic"),
    ],
)  # fmt: skip
def test_dynamic_ones_are_said_in_words(preset: str, words: str, origin: Path, tmp_path: Path) -> None:
    found = low_bits(compressed.export(tmp_path / "m", preset, origin))
    assert found.activations == words
    assert found.reach == {}
    assert found.weights == 7


def test_group_of_a_module_is_that_which_names_it(origin: Path, tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", "W8A8", origin)
    stated = locate(Settings(model=str(folder))).quantized
    assert stated is not None
    first = stated.entries["config_groups"]["group_0"]
    other = {**first, "targets": ["re:.*down_proj"], "weights": {**first["weights"], "num_bits": 4}}
    restated(folder, quantization_config={**stated.entries, "config_groups": {"group_0": first, "group_1": other}})
    settings = Settings(model=str(folder))
    packing = with_weights(locate(settings), settings).packing
    assert packing is not None
    assert {key.split(".")[-2]: one.bits for key, one in packing.packed.items()}["down_proj"] == 4
    assert packing.packed[f"{Q_PROJ}.weight"].bits == 8


def test_what_no_part_explains_is_refused(origin: Path, tmp_path: Path) -> None:
    folder = changed(
        gptq.export(tmp_path / "m", origin),
        lambda tensors: tensors.update({"lm_head.weight": tensors["lm_head.weight"].to(torch.float8_e4m3fn)}),
    )
    assert "lm_head.weight is F8_E4M3, which gptq (4 bits) does not explain" in refusal(folder)


def test_what_schemes_do_to_weights_is_not_told_of_weights_in_low_bits(
    origin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = compressed.export(tmp_path / "m", "FP8_DYNAMIC", origin)
    assert main(["weights", str(folder)]) != 0
    assert "its weights are quantized already (compressed-tensors (float-quantized))" in capsys.readouterr().err


def test_one_whose_cache_alone_is_quantized_has_weights_as_they_are(origin: Path, tmp_path: Path) -> None:
    scales = {f"model.layers.0.self_attn.{name}": torch.tensor([0.05, 0.01]) for name in ("k_scale", "v_scale")}
    scheme = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}
    stated = {"quant_method": "compressed-tensors", "config_groups": {}, "kv_cache_scheme": scheme, "format": "dense"}
    folder = written(origin, tmp_path / "m", {**tensors_of(origin), **scales}, stated)
    found = low_bits(folder)
    assert (found.weights, found.bits, len(found.cache)) == (0, 16, 2)
    assert [scale.by_head for scale in found.static] == [pytest.approx((0.05 * 448, 0.01 * 448))] * 2
    settings = Settings(model=str(folder))
    loaded = load(locate(settings), settings)
    assert loaded.left_out == ()
    assert loaded.files is not None
    assert stored_as(loaded.files, loaded.dtype) == ""


def test_of_mixed_formats_every_module_has_the_reach_of_its_own(origin: Path, tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", "FP8", origin)
    stated = locate(Settings(model=str(folder))).quantized
    assert stated is not None
    first = stated.entries["config_groups"]["group_0"]
    whole = {"num_bits": 8, "type": "int", "strategy": "tensor", "dynamic": False, "symmetric": True}
    other = {**first, "targets": ["re:.*down_proj"], "input_activations": whole}
    groups = {"group_0": first, "group_1": other}
    found = low_bits(restated(folder, quantization_config={**stated.entries, "config_groups": groups}))
    numbers = {scale.module.rpartition(".")[2]: scale.number for scale in found.static}
    assert (numbers["down_proj"], numbers["q_proj"]) == ("int8", "fp8_e4m3")
    assert found.reach[DOWN_PROJ] == pytest.approx(6.0 * 127 / 448, rel=1e-6)
    assert found.reach[Q_PROJ] == pytest.approx(6.0, rel=1e-6)
    assert found.activations == "fp8_e4m3 per tensor, static; int8 per tensor, static"


def test_a_scale_that_no_runtime_reads_reaches_nothing(origin: Path, tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", "FP8", origin)
    stated = locate(Settings(model=str(folder))).quantized
    assert stated is not None
    group = stated.entries["config_groups"]["group_0"]
    dynamic = {**group, "input_activations": {**group["input_activations"], "dynamic": True}}
    found = low_bits(
        restated(folder, quantization_config={**stated.entries, "config_groups": {"group_0": dynamic}})
    )  # fmt: skip
    assert (found.reach, found.static, found.calls) == ({}, (), ())
