"""One defect each in the static scales of an artifact, of its cache and of its inputs: what is read of its files is
held against a measurement of it, made once. Each is red and named; what costs hardly anything is told.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pytest_maxact.checkpoint.lint.look import lint_loaded
from pytest_maxact.checkpoint.locate import locate, with_weights
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.remarks import remarks_on
from pytest_maxact.judge.verdict.scales import scale_remarks
from pytest_maxact.judge.verdict.verdict import verdict
from pytest_maxact.measure.low_bits import low_bits_of
from pytest_maxact.record.record import Record
from pytest_maxact.record.static import held_of
from pytest_maxact.settings.settings import Settings
from tests.support.static_scales import calibrated, measured

Tensors = dict[str, torch.Tensor]
Attack = Callable[[Tensors, dict[str, Any]], None]
LAYERS = range(6)
MODULE = "model.layers.{}.{}"


def k(layer: int) -> str:
    return MODULE.format(layer, "self_attn.k_scale")


def v(layer: int) -> str:
    return MODULE.format(layer, "self_attn.v_scale")


def given(layer: int, *projections: str) -> list[str]:
    return [MODULE.format(layer, f"{one}.input_scale") for one in projections]


(DOWN,) = given(2, "mlp.down_proj")
(OUT,) = given(2, "self_attn.o_proj")
QKV = given(2, *(f"self_attn.{one}_proj" for one in "qkv"))
UP = given(2, "mlp.gate_proj", "mlp.up_proj")


def times(factor: float, *names: str) -> Attack:
    return lambda tensors, _: tensors.update({name: tensors[name] * factor for name in names})


def put(value: float, name: str) -> Attack:
    return lambda tensors, _: tensors.update({name: torch.full_like(tensors[name], value)})


def drop(*names: str) -> Attack:
    return lambda tensors, _: [tensors.pop(name) for name in names] and None


def cast(dtype: torch.dtype, name: str) -> Attack:
    return lambda tensors, _: tensors.update({name: tensors[name].to(dtype)})


def exchange(one: list[str], other: list[str]) -> Attack:
    """The tensors of either under the names of the other."""
    return lambda tensors, _: tensors.update(
        {name: tensors[source] for name, source in zip([*one, *other], [*other, *one], strict=True)}
    )


def many(count: int, name: str) -> Attack:
    return lambda tensors, _: tensors.update({name: tensors[name].reshape(1).repeat(count)})


def quiet_head(tensors: Tensors, _: dict[str, Any]) -> None:
    """Scales a head, of which one reaches a fortieth."""
    tensors[k(2)] = tensors[k(2)].reshape(1) * torch.tensor([1.0, 1 / 40])


def scheme(**changes: Any) -> Attack:
    return lambda _, config: config["quantization_config"]["kv_cache_scheme"].update(changes)


ATTACKS: dict[str, tuple[Attack, str]] = {
    "keys of a layer have none": (drop(k(2)), k(2)),
    "values of a layer have none": (drop(v(4)), v(4)),
    "a layer has none": (drop(k(2), v(2)), k(2)),
    "no layer has one": (drop(*map(k, LAYERS), *map(v, LAYERS)), k(0)),
    "keys NaN": (put(float("nan"), k(2)), k(2)),
    "values NaN": (put(float("nan"), v(3)), v(3)),
    "keys infinite": (put(float("inf"), k(2)), k(2)),
    "keys zero": (put(0.0, k(1)), k(1)),
    "values zero": (put(0.0, v(1)), v(1)),
    "keys negative": (times(-1, k(2)), k(2)),
    "values negative": (times(-1, v(5)), v(5)),
    "keys reach half": (times(0.5, k(2)), k(2)),
    "values reach half": (times(0.5, v(2)), v(2)),
    "keys reach a quarter": (times(0.25, k(2)), k(2)),
    "keys reach a sixteenth": (times(1 / 16, k(2)), k(2)),
    "every scale reaches half": (times(0.5, *map(k, LAYERS), *map(v, LAYERS)), k(0)),
    "keys reach a hundred times": (times(100, k(2)), k(2)),
    "the maximum of keys in place of a scale": (times(448, k(2)), k(2)),
    "the maximum of values in place of a scale": (times(448, v(2)), v(2)),
    "keys and values exchanged in a layer": (exchange([k(2)], [v(2)]), v(2)),
    "keys and values exchanged": (exchange([*map(k, LAYERS)], [*map(v, LAYERS)]), v(5)),
    "values of layers the other way round": (exchange([*map(v, (0, 1, 2))], [*map(v, (5, 4, 3))]), v(4)),
    "keys of integers": (cast(torch.int32, k(2)), k(2)),
    "keys in FP8": (cast(torch.float8_e4m3fn, k(2)), k(2)),
    "one head of keys reaches a fortieth": (quiet_head, k(2)),
    "scales of three heads, where there are two": (many(3, k(2)), k(2)),
    "scales of two heads, where one is declared": (many(2, v(2)), v(2)),
    "one scale, where one a head is declared": (scheme(strategy="attn_head"), k(0)),
    "declared in another number": (scheme(type="int"), k(0)),
    "inputs NaN": (put(float("nan"), DOWN), DOWN),
    "inputs zero": (put(0.0, DOWN), DOWN),
    "inputs negative": (times(-1, DOWN), DOWN),
    "inputs have none": (drop(DOWN), DOWN.replace("input_scale", "weight")),
    "inputs reach half": (times(0.5, DOWN), DOWN),
    "inputs reach a sixteenth": (times(1 / 16, DOWN), DOWN),
    "inputs reach a hundred times": (times(100, DOWN), DOWN),
    "inputs of the last projection reach half": (times(0.5, OUT), OUT),
    "inputs of three fused projections reach half": (times(0.5, *QKV), QKV[1]),
    "inputs of two fused projections reach half": (times(0.5, *UP), UP[0]),
    "inputs of two projections exchanged": (exchange([DOWN], [OUT]), DOWN),
}
TOLD: dict[str, tuple[Attack, str]] = {
    "keys reach nine tenths": (times(0.9, k(2)), k(2)),
    "values reach nine tenths": (times(0.9, v(3)), v(3)),
    "inputs reach nine tenths": (times(0.9, DOWN), DOWN),
    "inputs of three fused projections reach nine tenths": (times(0.9, *QKV), QKV[1]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact that was measured, with the scales that reach just what was met."""
    made = tmp_path_factory.mktemp("attacked")
    origin = Path(measured().provenance.model)
    tensors = load_file(origin / "model.safetensors")
    low_bits = calibrated().provenance.low_bits
    assert low_bits is not None
    tensors |= {one.tensor: torch.full_like(tensors[one.tensor], one.stated) for one in low_bits.static}
    save_file(tensors, made / "model.safetensors", metadata={"format": "pt"})
    (made / "config.json").write_text((origin / "config.json").read_text())
    return made


def attacked(folder: Path, target: Path, attack: Attack) -> Record:
    """What was measured once, with what the changed files say."""
    tensors, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    attack(tensors, config)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(json.dumps(config))
    settings = Settings(model=str(target))
    files = with_weights(locate(settings), settings)
    record, low_bits = measured(), low_bits_of(files)
    assert record.weights is not None
    return replace(
        record,
        weights=replace(record.weights, lint=lint_loaded(files)),
        provenance=replace(record.provenance, low_bits=low_bits),
        static=held_of(low_bits, record.sites),
    )


def red(record: Record) -> list[str]:
    found = verdict(record, load_limits(None), family="generic")
    return [one.limit.check for one in found if not one.accepted]


def test_the_artifact_is_green_as_it_is(folder: Path, tmp_path: Path) -> None:
    record = attacked(folder, tmp_path, lambda tensors, config: None)
    assert red(record) == []
    assert list(scale_remarks(record)) == []


@pytest.mark.parametrize("name", ATTACKS)
def test_a_defect_is_red_and_names_its_tensor(name: str, folder: Path, tmp_path: Path) -> None:
    attack, tensor = ATTACKS[name]
    assert [check for check in red(attacked(folder, tmp_path, attack)) if check.startswith(f"weights.{tensor}::")]


@pytest.mark.parametrize("name", TOLD)
def test_a_scale_that_misses_the_largest_entry_by_a_tenth_is_told(name: str, folder: Path, tmp_path: Path) -> None:
    attack, tensor = TOLD[name]
    record = attacked(folder, tmp_path, attack)
    (remark,) = scale_remarks(record)
    assert remark in list(remarks_on(record)), "it heads the verdict"
    assert remark.startswith("1 static scale of 36 does not reach the largest entry met, the least ")
    assert tensor in remark
    assert red(record) == [], "calibration on other text misses the largest entry by as much, and loses nothing"


def test_scales_that_nothing_was_held_against_are_told(folder: Path, tmp_path: Path) -> None:
    record = attacked(folder, tmp_path, lambda tensors, config: None)
    unread = {name: one for name, one in record.sites.items() if not one.site.is_beside}
    (remark,) = scale_remarks(replace(record, sites=unread, static=None))
    assert remark.startswith(
        "static scales are NOT checked: config.json calls for them for inputs and the cache, which were not observed"
    )
    unread = {name: one for name, one in record.sites.items() if not one.site.is_of_attention}
    (remark,) = scale_remarks(replace(record, sites=unread, static=None))
    assert remark.startswith("static scales are NOT checked: config.json calls for them for the cache, which were")


def test_scales_that_the_config_does_not_call_for_are_remarked(folder: Path, tmp_path: Path) -> None:
    record = attacked(folder, tmp_path, lambda _, config: config["quantization_config"].update(kv_cache_scheme=None))
    assert record.weights is not None
    assert record.weights.lint is not None
    assert record.weights.lint.counts["kv_scale_undeclared"] == 1
