"""Weights in few bits that were scaled where a norm or a projection undoes it: every single scale is held to them, for
one that is wrong hardly shows in their error.
"""

import pytest
import torch

from pytest_maxact.checkpoint.quantize import quantize
from pytest_maxact.checkpoint.weights.rounded import by_column
from pytest_maxact.checkpoint.weights.smoothed import Pair, Reading, smoothed
from pytest_maxact.checkpoint.weights.undone import bent_in
from pytest_maxact.numbers.schemes import Quantizer
from tests.support.zoo.configs import build

AT, WIDTH = "model.layers.1", 128
NORM = f"{AT}.post_attention_layernorm.weight"
GATE, UP, DOWN = (f"{AT}.mlp.{name}_proj.weight" for name in ("gate", "up", "down"))
INT4 = Quantizer(number="int4", granularity="group", group=32)
AWAY = [1.5, 2.0, 0.5, 0.25, 0.0, -1.0]


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


COLUMNS, ROWS = (torch.exp(0.3 * drawn(seed, WIDTH)) for seed in (20, 21))


def pair(seed: int, by: torch.Tensor) -> Pair:
    exact = drawn(seed, WIDTH, WIDTH)
    scaled = quantize(exact * by, INT4, None).restored.float()
    return Pair(read=lambda: (scaled, exact), how=INT4)


def explained(norm: torch.Tensor, rows: torch.Tensor) -> set[str]:
    """The weights that scales explain: of a gate and an up behind a norm that was multiplied by `norm`, and of a down
    behind an up whose rows were divided by `rows`.
    """
    return settled(norm, {GATE: pair(1, COLUMNS), UP: pair(2, COLUMNS / rows[:, None]), DOWN: pair(4, ROWS)})


def settled(norm: torch.Tensor, pairs: dict[str, Pair], bent: tuple[str, ...] = ()) -> set[str]:
    exact = 1 + drawn(3, WIDTH).abs()
    norms: dict[str, Reading] = {NORM: lambda: (exact * norm, exact)}
    vectors = {f"{name}.weight": (WIDTH,) for name in ("input_layernorm", "post_attention_layernorm")}
    names = vectors | {name.removeprefix(f"{AT}."): (WIDTH, WIDTH) for name in pairs}
    return set(smoothed(AT, pairs, norms=norms, biases={}, names=names, bent=bent).weights)


def test_scales_that_are_undone_one_and_all_explain_their_weights() -> None:
    assert explained(1 / COLUMNS, ROWS) == {GATE, UP, DOWN}


@pytest.mark.parametrize("factor", AWAY)
@pytest.mark.parametrize("channel", [0, 77])
def test_a_norm_with_one_wrong_entry_undoes_nothing(factor: float, channel: int) -> None:
    norm = 1 / COLUMNS
    norm[channel] *= factor
    assert explained(norm, ROWS) == set()


@pytest.mark.parametrize("factor", [factor for factor in AWAY if factor])
@pytest.mark.parametrize("row", [0, 77])
def test_rows_of_which_one_was_scaled_otherwise_are_undone_by_no_columns(factor: float, row: int) -> None:
    rows = ROWS.clone()
    rows[row] *= factor
    assert explained(1 / COLUMNS, rows) == set()


@pytest.mark.parametrize(("number", "clip"), [("int3", 0.8), ("int4", 0.9), ("int4", 1.0), ("int8", 1.0)])
def test_scales_of_weights_that_are_coarse_or_clipped_are_followed(number: str, clip: float) -> None:
    how = Quantizer(number=number, granularity="group", group=32)
    exact = drawn(1, WIDTH, WIDTH)
    groups = (exact * COLUMNS).reshape(WIDTH, -1, 32)
    most = groups.abs().amax(-1, keepdim=True) * clip
    given = quantize(groups.clamp(-most, most).reshape(WIDTH, WIDTH), how, None).restored.float()
    pairs = {name: Pair(read=lambda: (given, exact), how=how) for name in (GATE, UP)}
    assert settled(1 / COLUMNS, pairs) == {GATE, UP}


BENT = {
    "llama": (), "qwen3_moe": (), "gemma4_text": ("o_proj",), "deepseek_v4": ("down_proj", "w2"), "gpt_oss":
    ("down_proj", "w2"),
}  # fmt: skip


@pytest.mark.parametrize("model_type", BENT)
def test_clamps_and_norms_between_projections_are_found_by_running_what_gates(model_type: str) -> None:
    model = build(model_type).to("meta")
    assert bent_in(model, "model.layers.1") == set(BENT[model_type])
    assert bent_in(model, "language_model.layers.1") == set(BENT[model_type]), "called otherwise"


def test_values_that_are_clipped_are_not_handed_on_as_they_are() -> None:
    model = build("olmo").to("meta")
    assert bent_in(model, "model.layers.1") == set()
    model.config.clip_qkv = 8.0
    assert bent_in(model, "model.layers.1") == {"o_proj"}


def test_rows_of_a_clamped_projection_are_undone_by_no_columns() -> None:
    pairs = {GATE: pair(1, torch.ones(WIDTH)), UP: pair(2, 1 / ROWS[:, None]), DOWN: pair(4, ROWS)}
    assert settled(torch.ones(WIDTH), pairs) == {UP, DOWN}
    assert settled(torch.ones(WIDTH), pairs, ("down_proj",)) == set()


def test_sums_by_column_are_those_of_the_matrices() -> None:
    artifact, source = drawn(1, 40, WIDTH), drawn(2, 40, WIDTH)
    rounded = quantize(source, INT4, None).restored.float()
    sums = by_column(artifact, source, INT4)
    wanted = [source.square(), artifact.square(), (rounded - source).square(), artifact * source, rounded * source]
    assert torch.allclose(sums, torch.stack([one.sum(0) for one in wanted]), rtol=1e-4, atol=1e-4)
