"""Weights of artifacts against their sources': clean exports of every format are near what rounding gives, and what was
not made of the source is named, by tensor, layer and expert.
"""

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedConfig

from pytest_maxact.checkpoint.quantize import quantize
from pytest_maxact.checkpoint.weights.against import Side, weights_against
from pytest_maxact.checkpoint.weights.stored import Stored
from pytest_maxact.numbers.against import Weights
from pytest_maxact.numbers.schemes import Quantizer
from tests.support.against import failing, holding, judged, weights_of
from tests.support.exports import compressed, gguf, gptq, mxfp4
from tests.support.exports.every import EXPORTS
from tests.support.exports.source import Tensors, source
from tests.support.trained import change_weights

LAYERS = "model.layers"
UP, Q = f"{LAYERS}.1.mlp.up_proj.weight", f"{LAYERS}.0.self_attn.q_proj.weight"
EXPERTS = 8
EXPERT = f"{LAYERS}.1.mlp.experts.{{}}.down_proj.weight"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(tmp_path_factory.mktemp("origin") / "qwen3")


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(tmp_path_factory.mktemp("experts") / "moe", "qwen3_moe")


def red(found: Weights, form: str) -> list[str]:
    return failing(holding(found, form=form))


def of_tensors(names: list[str]) -> set[str]:
    """Of checks those of single tensors, without their metric."""
    return {name.partition("::")[0].removeprefix("weights.") for name in names if name.startswith("weights.")}


def made_of_another(
    folder: Path, origin: Path, change: Callable[[Tensors], object], export: Callable[..., Path] = gptq.export
) -> Path:
    """An artifact of the source with other weights."""
    other = shutil.copytree(origin, folder / "other")

    def apply(tensors: Tensors) -> None:
        change(tensors)

    change_weights(other, apply)
    return export(folder / "artifact", origin=other)


@pytest.mark.parametrize(
    "name",
    [
        "compressed W8A8", "compressed W4A16_ASYM", "compressed FP8", "compressed FP8_BLOCK", "compressed NVFP4",
        "compressed MXFP4", "compressed MXFP8", "fp8 block", "gptq act-order", "gptq 8 bits", "awq", "modelopt FP8",
        "modelopt NVFP4", "bitsandbytes 8 bits", "bitsandbytes NF4",
    ],
)  # fmt: skip
def test_clean_exports_of_every_format_are_near_their_rounded_source(name: str, origin: Path, tmp_path: Path) -> None:
    found = weights_of(EXPORTS[name](tmp_path / "artifact", origin=origin), origin)
    assert found.low == 14
    assert found.low + found.kept == 25
    assert not red(found, next(iter(found.lows.values())).form)
    assert max(low.loss_db for low in found.lows.values()) < 0.5
    assert max(low.rescaled for low in found.lows.values()) < 0.01
    assert max(low.group_loss_db for low in found.lows.values()) < 5


def test_rounding_of_our_own_scheme_loses_nothing(origin: Path, tmp_path: Path) -> None:
    found = weights_of(compressed.export(tmp_path / "artifact", "W4A16", origin), origin)
    assert {(low.loss_db, low.rescaled, low.group_loss_db) for low in found.lows.values()} == {(0.0, 0.0, 0.0)}


def test_stacks_of_experts_that_lie_turned_are_compared_as_they_were_rounded(tmp_path: Path) -> None:
    found = weights_of(mxfp4.export(tmp_path / "m"), tmp_path / "m-source")
    assert found.low == 4
    assert all(low.loss_db == low.group_loss_db == 0.0 for low in found.lows.values())


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0"])
def test_the_tensors_of_a_gguf_file_stand_under_the_names_of_the_model(kind: str, tmp_path: Path) -> None:
    origin = gguf.dense(tmp_path / "origin")
    found = weights_of(gguf.export(tmp_path / "m.gguf", kind, origin), origin)
    assert (found.low, found.kept) == (9, 3)
    assert not red(found, f"gguf int{kind[1]}")
    change_weights(origin, lambda tensors: tensors.update({Q: tensors[Q].flip(0)}))
    assert of_tensors(red(weights_of(tmp_path / "m.gguf", origin), f"gguf int{kind[1]}")) == {Q}


def test_experts_one_by_one_stand_against_a_stack_of_them(experts: Path, tmp_path: Path) -> None:
    stacked = shutil.copytree(experts, tmp_path / "stacked")

    def stack(tensors: Tensors) -> None:
        for layer in range(2):
            at = f"{LAYERS}.{layer}.mlp.experts"
            gates, ups, downs = (
                [tensors.pop(f"{at}.{number}.{name}_proj.weight") for number in range(EXPERTS)]
                for name in ("gate", "up", "down")
            )
            tensors[f"{at}.gate_up_proj"] = torch.cat([torch.stack(gates), torch.stack(ups)], 1)
            tensors[f"{at}.down_proj"] = torch.stack(downs)

    change_weights(stacked, stack)
    artifact = gptq.export(tmp_path / "artifact", experts)
    found = weights_of(artifact, stacked)
    assert not red(found, "gptq int4")
    assert not found.unmatched
    down = f"{LAYERS}.1.mlp.experts.down_proj"
    factors = torch.ones(EXPERTS, 1, 1).index_fill(0, torch.tensor(2), 1.05).bfloat16()
    change_weights(stacked, lambda tensors: tensors.update({down: tensors[down] * factors}))
    found = weights_of(artifact, stacked)
    assert of_tensors(red(found, "gptq int4")) == {down}


@pytest.mark.parametrize(
    ("spoilt", "by", "red"),
    [("", 0.0, set()), ("up", 0.02, {"up"}), ("gate", 0.02, set()), ("gate", 0.3, {"gate"})],
    ids=["sound", "8 bits off", "4 bits off as little", "4 bits far off"],
)
def test_each_half_of_a_fused_parameter_is_judged_by_the_form_of_its_own_tensor(
    spoilt: str, by: float, red: set[str]
) -> None:
    """A gate in 4 bits, and in 8 what it gates: what 4 bits lose anyway, 8 do not."""
    name = "model.layers.1.mlp.experts.gate_up_proj"
    model = nn.Module()
    model.base_model_prefix, model.config, model._keys_to_ignore_on_load_missing = "model", PreTrainedConfig(), None
    forms = {
        f"blk.1.ffn_{half}_exps.weight": Quantizer(number=number, granularity="group", group=32)
        for half, number in (("gate", "int4"), ("up", "int8"))
    }
    draw = torch.Generator().manual_seed(0)
    exact = dict(zip(forms, torch.randn(2, 3, 64, 64, generator=draw), strict=True))
    given = {key: torch.stack([quantize(one, forms[key], None).restored for one in exact[key]]) for key in forms}
    if spoilt:
        key = f"blk.1.ffn_{spoilt}_exps.weight"
        given[key] = given[key] + by * torch.randn(given[key].shape, generator=draw)
    sides = []
    for tensors, own in ((given, forms), (exact, {})):
        whole = torch.cat(list(tensors.values()), 1)
        held = Stored(file=Path("m"), key=name, dtype="F32", shape=tuple(whole.shape))
        sides.append(
            Side(
                stored=[held],
                tensors={name: whole},
                forms={**own, **({name: own[min(own)]} if own else {})},
                method="gguf",
                halves={name: dict.fromkeys(own, 64)} if own else {},
            )
        )
    found = weights_against(sides[0], sides[1], model, {})
    assert set(found.lows) == set(forms)
    assert {low.form for low in found.lows.values()} == {"gguf int4", "gguf int8"}
    assert {key for key, low in found.lows.items() if low.loss_db > 6} == {
        f"blk.1.ffn_{one}_exps.weight" for one in red
    }
    assert {low.layer for low in found.lows.values()} == {1}


def without(name: str) -> Callable[[Tensors], None]:
    def drop(tensors: Tensors) -> None:
        del tensors[name]

    return drop


def swap(tensors: Tensors, one: str, other: str) -> None:
    tensors[one], tensors[other] = tensors[other], tensors[one]


CHANGES: dict[str, tuple[Callable[[Tensors], object], set[str], str]] = {
    "scaled": (lambda t: t[UP].mul_(1.05), {UP}, "source_rescaled"),
    "shrunk": (lambda t: t[Q].mul_(0.95), {Q}, "source_rescaled"),
    "of a neighbouring step": (lambda t: t[UP].add_(torch.randn_like(t[UP]) * 0.013), {UP}, "source_outlying_db"),
    "negated": (lambda t: t[UP].neg_(), {UP}, "source_loss_db"),
    "rows permuted": (lambda t: t[UP].copy_(t[UP].flip(0)), {UP}, "source_loss_db"),
    "two rows swapped": (lambda t: t[Q].copy_(t[Q][[1, 0, *range(2, len(t[Q]))]]), {Q}, "source_group_loss_db"),
    "columns permuted": (lambda t: t[UP].copy_(t[UP].roll(1, 1)), {UP}, "source_loss_db"),
    "of another layer": (
        lambda t: t[UP].copy_(t[UP.replace("layers.1", "layers.0")]), {UP}, "source_loss_db",
    ),
    "noise": (lambda t: t[Q].add_(torch.randn_like(t[Q]) * 0.05), {Q}, "source_loss_db"),
    "a row of zeros": (lambda t: t[UP][7].zero_(), {UP}, "source_group_loss_db"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_weight_that_was_not_made_of_its_source_is_named(what: str, origin: Path, tmp_path: Path) -> None:
    change, tensors, metric = CHANGES[what]
    for export, form in ((gptq.export, "gptq int4"), (compressed.export, "compressed-tensors int8")):
        folder = tmp_path / form.split()[0]
        folder.mkdir()
        names = red(weights_of(made_of_another(folder, origin, change, export), origin), form)
        assert of_tensors(names) == tensors, form
        assert any(name.endswith(metric) for name in names), form


def test_an_expert_in_anothers_place_is_named_with_its_number(experts: Path, tmp_path: Path) -> None:
    one, other = EXPERT.format(1), EXPERT.format(3)
    artifact = made_of_another(tmp_path, experts, lambda tensors: swap(tensors, one, other))
    found = weights_of(artifact, experts)
    assert of_tensors(red(found, "gptq int4")) == {one, other}
    said = judged(holding(found))[f"weights.{one}::source_loss_db"].message
    assert said.startswith(f"{one} (layer 1, expert 1): SQNR ")


@pytest.mark.parametrize(
    ("preset", "part"), [("W4A16", (5, 1)), ("W8A8", (5, 0)), ("MXFP8", (5, 3)), ("NVFP4", (5, 7))]
)
def test_one_doubled_scale_of_many_is_named_with_its_group(
    preset: str, part: tuple[int, int], origin: Path, tmp_path: Path
) -> None:
    artifact = compressed.export(tmp_path / "artifact", preset, origin)

    def double(tensors: Tensors) -> None:
        scale = tensors[UP.replace("weight", "weight_scale")]
        whole = scale.float() if scale.dtype != torch.uint8 else scale
        whole[part] = whole[part] + 1 if scale.dtype == torch.uint8 else whole[part] * 2
        scale.copy_(whole)

    change_weights(artifact, double)
    found = weights_of(artifact, origin)
    names = red(found, next(iter(found.lows.values())).form)
    assert of_tensors(names) == {UP}
    low = found.lows[UP]
    assert (low.layer, low.group.startswith("row 5,")) == (1, True)


def test_what_lies_in_16_bits_is_the_sources_or_named(
    origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_maxact.checkpoint.weights.against._PIECE", 100)
    artifact = gptq.export(tmp_path / "artifact", origin)
    norm = f"{LAYERS}.1.input_layernorm.weight"
    change_weights(artifact, lambda tensors: tensors.update({norm: tensors[norm] * 2}))
    found = weights_of(artifact, origin)
    assert found.changed[norm].differing == found.changed[norm].entries == 256
    assert found.changed[norm].sqnr_db == 0
    assert red(found, "gptq int4") == [f"weights.{norm}::source_changed", "weights::source_changed"]


@pytest.mark.parametrize("tied", ["artifact", "source"])
@pytest.mark.parametrize("alike", [True, False])
def test_a_head_that_is_the_embedding_in_one_of_the_two_is_held_against_it(
    tied: str, alike: bool, tmp_path: Path
) -> None:
    one = source(tmp_path / "tied", tie_word_embeddings=True)
    other = shutil.copytree(one, tmp_path / "own")
    config = (other / "config.json").read_text()
    (other / "config.json").write_text(config.replace('"tie_word_embeddings": true', '"tie_word_embeddings": false'))
    embedding, head = "model.embed_tokens.weight", "lm_head.weight"
    change_weights(other, lambda t: t.update({head: t[embedding].clone() if alike else t[embedding].roll(1, 0)}))
    found = weights_of(one, other) if tied == "artifact" else weights_of(other, one)
    assert not found.unmatched
    assert list(found.changed) == ([] if alike else [head])


def test_the_dtype_of_either_is_the_same_tensor(origin: Path, tmp_path: Path) -> None:
    artifact = gptq.export(tmp_path / "artifact", origin)
    change_weights(artifact, lambda t: t.update({n: x.half() for n, x in t.items() if n.endswith("norm.weight")}))
    wide = shutil.copytree(origin, tmp_path / "wide")
    change_weights(wide, lambda t: t.update({n: x.float() for n, x in t.items()}))
    assert not red(weights_of(artifact, wide), "gptq int4")


def test_tensors_that_one_of_the_two_lacks_are_named(origin: Path, tmp_path: Path) -> None:
    artifact, bare = gptq.export(tmp_path / "artifact", origin), shutil.copytree(origin, tmp_path / "bare")
    norm, head = f"{LAYERS}.0.self_attn.q_norm.weight", "lm_head.weight"
    change_weights(artifact, without(norm))
    change_weights(bare, without(head))
    found = weights_of(artifact, bare)
    assert (found.missing, found.extra) == ((norm,), (head,))
    assert of_tensors(red(found, "gptq int4")) == {norm, head}


def test_an_expert_that_one_of_the_two_lacks_is_named(experts: Path, tmp_path: Path) -> None:
    artifact, bare = gptq.export(tmp_path / "artifact", experts), shutil.copytree(experts, tmp_path / "bare")
    change_weights(bare, without(EXPERT.format(5)))
    assert weights_of(artifact, bare).extra == (EXPERT.format(5),)
    assert weights_of(bare, experts).missing == (EXPERT.format(5),)


def test_biases_of_zeros_that_quantizers_write_are_no_tensors_more(origin: Path, tmp_path: Path) -> None:
    artifact = gptq.export(tmp_path / "artifact", origin)
    change_weights(artifact, lambda t: t.update({UP.replace("weight", "bias"): torch.zeros(384)}))
    assert not weights_of(artifact, origin).unmatched


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_passes_nothing(value: float, origin: Path, tmp_path: Path) -> None:
    artifact = gptq.export(tmp_path / "artifact", origin)
    scales = UP.replace("weight", "scales")
    change_weights(artifact, lambda t: t.update({scales: t[scales].index_fill(0, torch.tensor(0), value)}))
    names = red(weights_of(artifact, origin), "gptq int4")
    assert f"weights.{UP}::source_loss_db" in names
    assert f"weights.{UP}::source_group_loss_db" in names
