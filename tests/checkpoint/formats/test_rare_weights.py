"""Weights in low bits of kinds that few exports have: zero points of whole rows, tables of tokens, 4 bits of
bitsandbytes with and without maxima that are quantized themselves, and blocks of zeros.
"""

import json
from pathlib import Path

import pytest
import torch
from compressed_tensors.entrypoints.convert import CompressedTensorsDequantizer

from pytest_maxact.checkpoint.formats.auto_round import LAYOUTS
from pytest_maxact.checkpoint.formats.bitsandbytes import of_4_bits, of_8_bits
from pytest_maxact.checkpoint.formats.bitsandbytes_state import state_of
from pytest_maxact.checkpoint.formats.modelopt import of_fp8, of_nvfp4
from pytest_maxact.checkpoint.lint.look import lint
from pytest_maxact.checkpoint.locate import locate, with_weights
from pytest_maxact.errors import InputError
from pytest_maxact.measure.low_bits import low_bits_of
from pytest_maxact.settings.settings import Settings
from tests.support.exports import auto_round, awq, bitsandbytes, compressed, fbgemm, gptq
from tests.support.exports.source import linears_of, restored, source, tensors_of
from tests.support.recorded import FOUR_BITS, WANTED, recorded, state_in
from tests.support.trained import change_weights


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(tmp_path_factory.mktemp("origin") / "qwen3", num_hidden_layers=1)


def projections(folder: Path) -> list[str]:
    return [f"{module}.weight" for module, _ in linears_of(tensors_of(folder))]


def test_those_of_bitsandbytes_in_8_bits_are_what_its_definition_says(origin: Path, tmp_path: Path) -> None:
    folder = bitsandbytes.export(tmp_path / "int8", origin, bits=8)
    found, stored = restored(folder), tensors_of(folder)
    for name in projections(origin):
        rows = stored[name.replace("weight", "SCB")]
        wanted = stored[name].float() * rows.unsqueeze(1) / 127
        torch.testing.assert_close(found[name], wanted, rtol=2.0**-22, atol=0.0)


@pytest.mark.parametrize("table", ["nf4", "fp4"])
@pytest.mark.parametrize("nested", [False, True])
def test_those_in_4_bits_are_levels_times_maxima_of_blocks(
    table: str, nested: bool, origin: Path, tmp_path: Path
) -> None:
    folder = bitsandbytes.export(tmp_path / "m", origin, table=table, nested=nested)
    found, stored = restored(folder), tensors_of(folder)
    for name in projections(origin):
        state = json.loads(bytes(stored[f"{name}.quant_state.bitsandbytes__{table}"].tolist()))
        for place in range(0, found[name].numel(), 257):
            code = int(stored[name].flatten()[place // 2]) >> (0 if place % 2 else 4) & 15
            block = place // state["blocksize"]
            scale = stored[f"{name}.absmax"][block]
            if nested:
                above = stored[f"{name}.nested_absmax"][block // state["nested_blocksize"]]
                scale = stored[f"{name}.nested_quant_map"][int(scale)] * above + state["nested_offset"]
            wanted = (bitsandbytes.TABLES[table][code] * scale).bfloat16()
            assert found[name].flatten()[place] == wanted


@pytest.mark.parametrize("case", FOUR_BITS)
def test_those_in_4_bits_are_bit_for_bit_what_bitsandbytes_made_of_its_own(case: str) -> None:
    held = recorded(case)
    wanted, (key, told) = held.pop(WANTED), state_in(held)
    parts = {name.removeprefix("weight."): tensor for name, tensor in held.items() if name != key}
    assert torch.equal(of_4_bits(parts, state_of(told, key)), wanted)


def test_those_in_8_bits_are_bit_for_bit_what_bitsandbytes_made_of_its_own() -> None:
    held = recorded("int8")
    assert torch.equal(of_8_bits(held), held[WANTED])


def test_those_of_modelopt_are_bit_for_bit_what_it_made_of_its_own() -> None:
    for case, restore in (("modelopt nvfp4", of_nvfp4), ("modelopt fp8", of_fp8)):
        held = recorded(case)
        assert torch.equal(restore(held).bfloat16(), held[WANTED]), case


@pytest.mark.parametrize("storage", [torch.bfloat16, torch.float32])
def test_bytes_of_codes_may_be_stored_as_another_dtype(storage: torch.dtype, origin: Path, tmp_path: Path) -> None:
    plain = bitsandbytes.export(tmp_path / "plain", origin)
    folder = bitsandbytes.export(tmp_path / "m", origin, storage=storage)
    found, wanted = restored(folder), restored(plain)
    assert tensors_of(folder)["model.layers.0.mlp.up_proj.weight"].dtype == storage
    assert all(torch.equal(found[name], wanted[name]) for name in projections(origin))
    assert not lint(folder).red


@pytest.mark.parametrize("form", sorted(LAYOUTS))
def test_those_of_autoround_are_those_of_the_layout_that_it_names(form: str, origin: Path, tmp_path: Path) -> None:
    folder = auto_round.export(tmp_path / "m", origin, form=form)
    plain = (awq if LAYOUTS[form] == "awq" else gptq).export(tmp_path / "plain", origin)
    found, wanted = restored(folder), restored(plain)
    assert all(torch.equal(found[name], wanted[name]) for name in projections(origin))
    assert not lint(folder).faults


def test_scales_of_autoround_may_lie_below_zero(origin: Path, tmp_path: Path) -> None:
    folder = auto_round.export(tmp_path / "m", origin, symmetric=True)
    found, stored, source = restored(folder), tensors_of(folder), tensors_of(origin)
    for name in projections(origin):
        scales = stored[name.replace("weight", "scales")].float()
        assert scales.min() < 0 < scales.max()
        steps = scales.abs().t().repeat_interleave(64, 1)
        inside = (found[name].float() - source[name].float()).abs() / steps
        assert inside.quantile(0.99) < 0.51
    assert not lint(folder).faults


def test_those_of_fbgemm_are_levels_times_the_scale_of_their_row(origin: Path, tmp_path: Path) -> None:
    folder = fbgemm.export(tmp_path / "m", origin)
    found, stored = restored(folder), tensors_of(folder)
    for name in projections(origin):
        levels, scales = stored[name].float(), stored[f"{name}_scale"]
        for row in range(0, levels.shape[0], 31):
            assert all(found[name][row, column] == levels[row, column] * scales[row, 0] for column in (0, 1, 77, 127))


@pytest.mark.parametrize(
    "stated",
    [{"packing_format": "auto_round:llm_compressor"}, {"data_type": "mx_fp"}, {"packing_format": "auto_round:v3"}],
)
def test_other_layouts_of_autoround_are_refused_by_name(stated: dict[str, str], origin: Path, tmp_path: Path) -> None:
    folder = auto_round.export(tmp_path / "m", origin)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] |= stated
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=next(iter(stated.values()))):
        restored(folder)
    assert lint(folder).red


def test_a_block_of_zeros_is_given_back_as_zeros_and_is_no_fault(origin: Path, tmp_path: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    change_weights(
        dead := source(tmp_path / "dead", num_hidden_layers=1), lambda tensors: tensors[name][3, :128].zero_()
    )
    folder = bitsandbytes.export(tmp_path / "m", dead, nested=False)
    stored = tensors_of(folder)
    assert (stored[f"{name}.absmax"] == 0).sum() == 2
    assert restored(folder)[name][3, :128].abs().max() == 0
    assert {one.code for one in lint(folder).faults} == {"scale_unused"}


def test_zero_points_of_rows_in_8_bits_are_what_compressed_tensors_makes_of_them(origin: Path, tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", "W8A8", origin, weights={"symmetric": False})
    assert tensors_of(folder)["model.layers.0.mlp.up_proj.weight_zero_point"].abs().max() > 0
    _same(folder, projections(origin))


@pytest.mark.parametrize("preset", ["W8A8", "W4A16", "FP8_DYNAMIC"])
def test_a_table_of_tokens_that_is_a_target_is_given_back_too(preset: str, origin: Path, tmp_path: Path) -> None:
    folder = compressed.export(tmp_path / "m", preset, origin, embedding=True)
    assert "model.embed_tokens.weight_scale" in tensors_of(folder)
    _same(folder, [*projections(origin), "model.embed_tokens.weight"])


@pytest.mark.parametrize("name", ["{0}.k_scale", "{0}.k_proj.k_scale", "{0}.kv_scale", "{0}.q_scale"])
def test_a_scale_of_the_cache_is_one_under_every_name_that_runtimes_read(
    name: str, origin: Path, tmp_path: Path
) -> None:
    folder = compressed.export(tmp_path / "m", "FP8_DYNAMIC", origin)
    key = name.format("model.layers.0.self_attn")
    change_weights(folder, lambda tensors: tensors.update({key: torch.tensor([0.02])}))
    settings = Settings(model=str(folder))
    found = low_bits_of(with_weights(locate(settings), settings))
    assert found is not None
    assert found.cache == {key: pytest.approx(0.02)}
    assert not any(one.code == "scale_orphan" for one in lint(folder).faults)


def _same(folder: Path, names: list[str]) -> None:
    kept = [] if "model.embed_tokens.weight" in names else ["model.embed_tokens"]
    found, wanted = restored(folder), CompressedTensorsDequantizer(folder, ignore=kept).process(tensors_of(folder))
    for name in names:
        assert torch.equal(found[name].bfloat16(), wanted[name].bfloat16()), name
