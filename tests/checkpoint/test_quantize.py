"""Low-bit schemes: bit for bit what compressed-tensors does, errors that are known in closed form, names, and the
arithmetic of sums.
"""

import math
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
import torch
from compressed_tensors.quantization.quant_scheme import PRESET_SCHEMES  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact.checkpoint import quantize as numerics
from pytest_maxact.checkpoint.quantize import Quantized, fake_quantized, quantize
from pytest_maxact.errors import InputError
from pytest_maxact.numbers.schemes import ALIASES, DEFAULT_SCHEMES, SCHEMES, Quantizer, scheme_called
from pytest_maxact.numbers.sums import DB_BINS, DB_LOWEST, DB_PER_BIN, SchemeSums, decibel
from tests.support.deployed import by_compressed_tensors, preset_args

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
OPERANDS = [
    (name, operand)
    for name, scheme in SCHEMES.items()
    for operand in ("activations", "weights")
    if getattr(scheme, operand) is not None
]
WITH_PRESET = [(name, operand) for name, operand in OPERANDS if name != "W8A8_STATIC"]
WIDTH = 256


def quantizer(name: str, operand: str) -> Quantizer:
    how = getattr(SCHEMES[name], operand)
    assert isinstance(how, Quantizer)
    return how


# -- against compressed-tensors
# ----------------------------------------------------------------------------------------------------


def normal(rows: int = 24, width: int = WIDTH, seed: int = 0) -> torch.Tensor:
    return torch.randn((rows, width), generator=torch.Generator().manual_seed(seed))


def heavy_tails(dtype: torch.dtype) -> torch.Tensor:
    x = normal() / normal(seed=1).abs().clamp(min=1e-4)
    return x.clamp(-30000.0, 30000.0)


def zero_rows(dtype: torch.dtype) -> torch.Tensor:
    x = normal()
    x[::3], x[4, 1:], x[7, 40:90] = 0.0, 0.0, -0.0
    return x


def subnormal_rows(dtype: torch.dtype) -> torch.Tensor:
    x, tiny = normal().to(dtype), torch.finfo(dtype).tiny
    x[1] *= tiny
    x[2], x[3] = tiny / 4, torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    x[4, ::2], x[5, :64] = 0.0, tiny
    return x


def only_subnormal(dtype: torch.dtype) -> torch.Tensor:
    return (normal() * torch.finfo(dtype).tiny / 8).to(dtype)


def at_maxima_of_formats(dtype: torch.dtype) -> torch.Tensor:
    x = normal()
    for row, top in enumerate(
        (448.0, -448.0, 6.0, -6.0, 127.5, -127.5, 7.5, 256.0, 4.0, torch.finfo(dtype).max / 4, -127.0, 464.0)
    ):
        x[row, row] = top
    return x


def ties(dtype: torch.dtype) -> torch.Tensor:
    """Halfway between levels wherever a scale is a power of two."""
    steps = torch.arange(WIDTH) - WIDTH // 2
    rows = [
        (steps + 0.5),
        steps * 0.25,
        steps * 0.125,
        (2 * steps + 1) * 2.0**-10,
        (2 * steps + 1) * 2.0**-6,
        steps * 8.0 + 4.0,
    ]
    x = torch.stack([row.clamp(-440.0, 440.0) for row in rows]).repeat(5, 1)
    for row, top in enumerate((127.5, 6.0, 448.0, 7.5, 256.0)):
        x[6 * row : 6 * row + 6] = x[6 * row : 6 * row + 6].clamp(-top, top)
        x[6 * row : 6 * row + 6, ::16] = top
    return x


def one_outlier(dtype: torch.dtype) -> torch.Tensor:
    x = normal()
    x[5, 77] = -9000.0
    return x


def small(dtype: torch.dtype) -> torch.Tensor:
    return normal() * 1e-3


MATERIALS: dict[str, Callable[[torch.dtype], torch.Tensor]] = {
    "normal": lambda dtype: normal(),
    "heavy tails": heavy_tails,
    "zero rows": zero_rows,
    "subnormal rows": subnormal_rows,
    "only subnormal": only_subnormal,
    "maxima of formats": at_maxima_of_formats,
    "ties": ties,
    "one outlier": one_outlier,
    "small": small,
    "nothing but zero": lambda dtype: torch.zeros(6, WIDTH),
}


def quantized_by_itself(x: torch.Tensor, how: Quantizer) -> Quantized:
    """Quantized by a scale from x itself, handed over where calibration hands it over."""
    return quantize(x, how, x.abs().amax() if how.needs_calibration else None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "operand"), WITH_PRESET)
def test_every_scheme_is_that_of_compressed_tensors_bit_for_bit(name: str, operand: str, dtype: torch.dtype) -> None:
    for material, make in MATERIALS.items():
        x = make(dtype).to(dtype)
        assert x.isfinite().all()
        how, wanted = quantizer(name, operand), by_compressed_tensors(x, name, operand)
        assert wanted.restored.dtype == dtype
        assert torch.equal(fake_quantized(x, how), wanted.restored), material
        for found in (quantized_by_itself(x, how), quantize(x, how)):
            assert found.restored.dtype == dtype
            assert torch.equal(found.restored, wanted.restored), material
            assert torch.equal(found.levels, wanted.levels), material
            assert torch.equal(found.clipped, wanted.clipped), material


@pytest.mark.parametrize("share", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["FP8", "NVFP4"])
def test_a_calibration_that_saw_less_or_more_is_that_of_compressed_tensors(
    name: str, dtype: torch.dtype, share: float
) -> None:
    x = one_outlier(dtype).to(dtype)
    amax = (x.abs().amax() * share).to(dtype)
    wanted = by_compressed_tensors(x, name, "activations", low=-amax, high=amax)
    found = quantize(x, quantizer(name, "activations"), amax)
    assert torch.equal(found.restored, wanted.restored)
    assert torch.equal(found.levels, wanted.levels)
    assert torch.equal(found.clipped, wanted.clipped)


@pytest.mark.parametrize("shape", [(1, 128), (130, 256), (200, 300), (5, 40)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_that_the_shape_does_not_fill_are_those_of_compressed_tensors(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    x = normal(*shape).to(dtype)
    x[0, 7] = 300.0
    assert torch.equal(
        quantize(x, quantizer("FP8_BLOCK", "weights")).restored,
        by_compressed_tensors(x, "FP8_BLOCK", "weights").restored,
    )


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(WITH_PRESET),
    st.sampled_from(DTYPES),
    st.integers(1, 3),
    st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=1, max_size=40),
    st.integers(-12, 4),
    st.integers(0, 1 << 16),
)
def test_any_finite_tensor_is_quantized_as_compressed_tensors_does_it(
    operand: tuple[str, str], dtype: torch.dtype, rows: int, entries: list[float], power: int, seed: int
) -> None:
    places = torch.randint(len(entries), (rows, 128), generator=torch.Generator().manual_seed(seed))
    x = (torch.tensor(entries)[places] * 2.0**power).clamp(-60000, 60000).to(dtype)
    found, wanted = quantized_by_itself(x, quantizer(*operand)), by_compressed_tensors(x, *operand)
    assert torch.equal(found.restored, wanted.restored)
    assert torch.equal(found.levels, wanted.levels)


@pytest.mark.parametrize(("name", "operand"), OPERANDS)
def test_pieces_of_a_tensor_of_any_shape_are_restored_as_the_whole(
    name: str, operand: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    how, x = quantizer(name, operand), heavy_tails(torch.bfloat16).bfloat16()
    whole, amax = fake_quantized(x, how), x.abs().amax()
    monkeypatch.setattr(numerics, "_PIECE", 3 * WIDTH)
    assert torch.equal(fake_quantized(x.view(2, 4, 3, WIDTH), how), whole.view(2, 4, 3, WIDTH))
    if how.granularity != "block":
        assert torch.equal(fake_quantized(x, how, amax), quantize(x, how, amax).restored)


# -- closed forms
# ----------------------------------------------------------------------------------------------------
# With this largest entry a scale is 1, so that noise is stated in steps. `INT` half the range of levels, static ones as
# many on either side; an E8M0 scale is the power of two below the largest entry over that below the largest level.

LEVELS_FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_BYTES = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
LEVELS_FP8 = tuple(sorted({abs(value) for value in _BYTES.tolist() if not math.isnan(value)}))


def top_of_scale_one(how: Quantizer) -> float:
    if how.is_integer:
        return {("int8", True): 127.0, ("int8", False): 127.5, ("int4", False): 7.5}[how.number, how.static]
    return {("fp8_e4m3", ""): 448.0, ("fp8_e4m3", "e8m0"): 256.0, ("fp4_e2m1", "e8m0"): 6.0, ("fp4_e2m1", "e4m3"): 6.0}[
        how.number, how.scale
    ]


STEP = {"int8": (1.0, 7.0), "int4": (1.0, 7.0), "fp8_e4m3": (2.0**-9, 2.0**-6), "fp4_e2m1": (0.5, 2.0)}
"""Distance of neighbouring levels in units of the scale, and up to which magnitude it holds."""


def neighbours(how: Quantizer) -> int:
    """How many columns of the first row share the scale of the first entry."""
    return how.group if how.granularity in ("group", "block") else WIDTH


def squared_error(x: torch.Tensor, quantized: Quantized) -> torch.Tensor:
    return (x.double() - quantized.restored.double()) ** 2


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(("name", "operand"), OPERANDS)
def test_beside_an_outlier_noise_of_some_steps_has_the_error_of_a_uniform_step(
    name: str, operand: str, sign: float
) -> None:
    how = quantizer(name, operand)
    (step, span), shared = STEP[how.number], neighbours(how)
    energies = []
    for seed in range(96):
        x = (torch.rand((1, WIDTH), generator=torch.Generator().manual_seed(seed)) * 2 - 1) * span
        x[0, 0] = sign * top_of_scale_one(how)
        energies.append(squared_error(x, quantized_by_itself(x, how))[0, 1:shared])
    energy = torch.cat(energies)
    # The mean of n squares of a uniform error scatters by sqrt(4/5/n) of itself.
    assert energy.mean().item() == pytest.approx(step**2 / 12, rel=5 * math.sqrt(0.8 / energy.numel()))


@pytest.mark.parametrize(("name", "operand"), OPERANDS)
def test_beside_an_outlier_noise_within_half_a_step_is_flushed_whole(name: str, operand: str) -> None:
    how = quantizer(name, operand)
    step, shared = STEP[how.number][0], neighbours(how)
    x = (torch.rand((1, WIDTH), generator=torch.Generator().manual_seed(3)) - 0.5) * step * 0.999
    x[0, 0] = top_of_scale_one(how)
    found = quantized_by_itself(x, how)
    assert not found.restored[0, 1:shared].any()
    assert not found.levels[0, 1:shared].any()
    assert torch.equal(squared_error(x, found)[0, 1:shared], x[0, 1:shared].double() ** 2)


@pytest.mark.parametrize(("name", "operand"), OPERANDS)
def test_half_a_step_exactly_is_flushed_to_the_even_zero_and_anything_above_is_kept(name: str, operand: str) -> None:
    how = quantizer(name, operand)
    half = STEP[how.number][0] / 2
    x = torch.zeros(1, WIDTH)
    x[0, 0], x[0, 1], x[0, 2], x[0, 3] = top_of_scale_one(how), half, half * 1.001, -half * 1.001
    assert quantized_by_itself(x, how).levels[0, 1:4].tolist() == [0.0, 2 * half, -2 * half]


@pytest.mark.parametrize(("name", "operand"), OPERANDS)
def test_two_outlying_channels_cost_their_own_group_or_the_whole_row(name: str, operand: str) -> None:
    # The rest is of one magnitude: alone it is at the top of its group. FP8 keeps 2^-10 of an outlier, and needs a
    # greater one to flush it.
    how = quantizer(name, operand)
    rows, outlier = 8, 2.0**19 if how.number == "fp8_e4m3" and how.granularity in ("row", "tensor") else 2.0**10
    signs = torch.where(normal(rows) > 0, 1.0, -1.0)
    x = signs.clone()
    x[:, (3, 5)] *= outlier
    found = quantized_by_itself(x, how)
    shared = neighbours(how)
    flushed, saved = found.levels[:, :shared], found.levels[:, shared:]
    largest = {"int8": 127.5, "int4": 7.5}.get(how.number)
    if how.granularity in ("row", "tensor"):
        assert shared == WIDTH
        assert (flushed != 0).sum().item() == 2 * rows
        return
    assert saved.numel() > 0
    assert saved.count_nonzero() == saved.numel()
    error = squared_error(x, found)[:, shared:]
    if largest is not None:  # the top of an integer range is half a step from its nearest level
        torch.testing.assert_close(error, torch.full_like(error, (0.5 / largest) ** 2), rtol=1e-4, atol=0)
    else:
        assert error.max().item() < 1e-12
    keeps = outlier <= 2.0**10 and how.number == "fp8_e4m3"
    assert (flushed != 0).sum().item() == (rows * shared if keeps else 2 * rows)


def test_the_scales_of_nvfp4_groups_are_flushed_too_and_those_of_mxfp4_are_not() -> None:
    # A group 2^20 below the largest entry asks for a scale below half of the smallest FP8 number.
    x = torch.ones(1, WIDTH)
    x[0, 0] = 2.0**20
    nvfp4, mxfp4 = (quantized_by_itself(x, quantizer(name, "activations")) for name in ("NVFP4", "MXFP4"))
    assert not nvfp4.restored[0, 1:].any()
    assert torch.equal(mxfp4.restored[0, 32:], x[0, 32:])


CONSTANTS = {"int8": 1 / 255, "int4": 1 / 15}
"""A constant is made 127.5 or 7.5 by a dynamic scale: beyond the largest level, or, where negative, between the last
two.
"""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "operand"), OPERANDS)
def test_a_constant_tensor_has_the_error_of_the_largest_level(name: str, operand: str, dtype: torch.dtype) -> None:
    how = quantizer(name, operand)
    wanted = 0.0 if how.static else CONSTANTS.get(how.number, 0.0)
    for value in (1.0, -1.0, 0.125, -512.0):
        x = torch.full((3, WIDTH), value, dtype=dtype)
        found = quantized_by_itself(x, how)
        relative = ((x.double() - found.restored.double()) / value).abs().max().item()
        # The scale is rounded to the tensor's own format, and so is the product.
        assert relative == pytest.approx(wanted, abs=1.01 * torch.finfo(dtype).eps if dtype != torch.float32 else 1e-6)
        if wanted and dtype == torch.float32:
            lowest = float(1 << (how.bits - 1))
            assert set(found.levels.flatten().tolist()) in ([{lowest - 1}] if value > 0 else [{-lowest}, {1 - lowest}])
            assert found.clipped.all() == found.clipped.any() == (value > 0)


@pytest.mark.parametrize("name", ["MXFP4", "MXFP4A16"])
def test_a_constant_between_two_levels_goes_to_the_even_one(name: str) -> None:
    # 1.75 counts as 2 when its power of two is taken, so the scale is 2 / 4, and 3.5 lies between 3 and 4.
    x = torch.full((1, 32), 1.75)
    found = quantize(x, quantizer(name, "weights"))
    assert (found.levels == 4.0).all()
    assert (found.restored == 2.0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "operand"), OPERANDS)
def test_nothing_but_zero_stays_zero(name: str, operand: str, dtype: torch.dtype) -> None:
    for x in (torch.zeros(4, WIDTH, dtype=dtype), -torch.zeros(4, WIDTH, dtype=dtype)):
        for found in (quantize(x, quantizer(name, operand)), quantized_by_itself(x, quantizer(name, operand))):
            assert torch.equal(found.restored, torch.zeros_like(x))
            assert not found.levels.any()
            assert not found.clipped.any()


def test_a_static_scale_of_zero_flushes_or_clips_but_gives_no_nan() -> None:
    # Calibration saw nothing but zeros: the scale is the epsilon of the format that holds it.
    x = torch.tensor([[1.0, -2.0, 0.0, 1e-9] * 32])
    for name in ("FP8", "W8A8_STATIC", "NVFP4"):
        found = quantize(x, quantizer(name, "activations"), torch.zeros(()))
        assert found.restored.isfinite().all()
        assert found.restored[0, 3].item() == pytest.approx(0.0, abs=1e-9)


SMALLEST = {torch.bfloat16: 2.0**-133, torch.float16: 2.0**-24, torch.float32: 2.0**-149}
"""Smallest number, and below: half of the smallest normal one."""
HALF_NORMAL = {torch.bfloat16: 2.0**-127, torch.float16: 2.0**-15, torch.float32: 2.0**-127}
KEPT: dict[tuple[str, str], dict[torch.dtype, str]] = {
    ("int8", ""): {torch.bfloat16: "half", torch.float16: "half", torch.float32: "half"},
    ("int4", ""): {torch.bfloat16: "half", torch.float16: "half", torch.float32: "half"},
    # 2^-127 / 448 is below half of the smallest bfloat16; 2^-15 / 448 is 1.14 of the smallest float16.
    ("fp8_e4m3", ""): {torch.bfloat16: "", torch.float16: "half", torch.float32: "half"},
    # The smallest E8M0 scale is 2^-127, which float16 does not have: there it is 1.
    ("fp8_e4m3", "e8m0"): {torch.bfloat16: "half smallest", torch.float16: "", torch.float32: "half"},
    ("fp4_e2m1", "e8m0"): {torch.bfloat16: "half", torch.float16: "", torch.float32: "half"},
    # The scale above all groups overflows and is 1, and a group's own is below FP8.
    ("fp4_e2m1", "e4m3"): {torch.bfloat16: "", torch.float16: "", torch.float32: ""},
}
"""Which of the two are not flushed, by number and scale: a scale that is itself flushed becomes the epsilon of its
format.
"""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "operand"), OPERANDS)
def test_subnormal_numbers_are_flushed_or_kept_as_their_scale_can_be_held(
    name: str, operand: str, dtype: torch.dtype
) -> None:
    how = quantizer(name, operand)
    for label, values in (("smallest", SMALLEST), ("half", HALF_NORMAL)):
        x = torch.full((2, WIDTH), values[dtype], dtype=dtype)
        assert x.all()
        found = quantized_by_itself(x, how)
        kept = label in KEPT[how.number, how.scale][dtype].split()
        assert bool(found.levels.all()) == bool(found.levels.any()) == kept
        if kept:
            torch.testing.assert_close(found.restored.double(), x.double(), rtol=0.51, atol=0.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "operand"), OPERANDS)
def test_values_at_the_levels_have_no_error(name: str, operand: str, dtype: torch.dtype) -> None:
    # A dynamic integer scale puts its largest entry half a step beyond the largest level, so that entry alone is
    # planted off them.
    how = quantizer(name, operand)
    positive = {"fp8_e4m3": LEVELS_FP8, "fp4_e2m1": LEVELS_FP4}.get(how.number) or [
        float(i) for i in range(1 << (how.bits - 1))
    ]
    top = top_of_scale_one(how)
    levels = [sign * level for level in positive for sign in (1.0, -1.0) if level <= top]
    size = neighbours(how) if how.granularity == "group" else WIDTH
    per_row = size - 1
    rows = [levels[start : start + per_row] for start in range(0, len(levels), per_row)]
    x = torch.zeros(len(rows), size)
    for row, members in zip(x, rows, strict=True):
        row[0], row[1 : 1 + len(members)] = top, torch.tensor(members)
    x = x.to(dtype)
    found = quantized_by_itself(x, how)
    assert torch.equal(found.restored[:, 1:], x[:, 1:])
    assert torch.equal(found.levels[:, 1:], x[:, 1:].float())
    assert not found.clipped[:, 1:].any()
    assert found.clipped[:, 0].all() == found.clipped[:, 0].any() == (how.is_integer and not how.static)


@pytest.mark.parametrize("name", ["FP8", "W8A8_STATIC"])
def test_what_lies_beyond_a_static_range_is_clipped_to_it_and_said_to_be(name: str) -> None:
    how = quantizer(name, "activations")
    top = 448.0 if name == "FP8" else 127.0
    x = torch.tensor([[top, -top, top * 1.01, -top * 1.01, 3 * top, -1e30, 1.0, 0.0]])
    found = quantize(x, how, torch.tensor(top))
    assert found.clipped.tolist() == [[False, False, True, True, True, True, False, False]]
    assert found.restored.tolist() == [[top, -top, top, -top, top, -top, 1.0, 0.0]]
    assert found.levels.tolist() == found.restored.tolist()


def test_an_mx_scale_clips_what_its_power_of_two_leaves_out() -> None:
    # 7 of a scale of 1 is beyond FP4's 6, unless it is rounded up to the next power: from 7 on, it is.
    how = quantizer("MXFP4", "activations")
    for value, clipped, restored_to in ((6.99, True, 6.0), (7.0, False, 8.0)):
        found = quantize(torch.full((1, 32), value), how)
        assert (found.clipped.all().item(), found.restored[0, 0].item()) == (clipped, restored_to)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "operand"), OPERANDS)
def test_an_entry_that_is_not_finite_is_not_restored_to_a_number(
    name: str, operand: str, dtype: torch.dtype, broken: float
) -> None:
    x = normal(4).to(dtype)
    x[2, 17] = broken
    found = quantize(x, quantizer(name, operand)).restored
    assert not found[2, 17].isfinite()


# -- names
# ----------------------------------------------------------------------------------------------------


def test_every_scheme_but_the_papers_and_the_casts_is_a_preset_and_agrees_with_it_on_what_is_quantized() -> None:
    for name, scheme in SCHEMES.items():
        assert scheme.name == name
        if scheme.cast or name == "W8A8_STATIC":
            assert name not in PRESET_SCHEMES
            continue
        assert name in PRESET_SCHEMES
        for operand in ("activations", "weights"):
            args, how = preset_args(name, operand), getattr(scheme, operand)
            assert (args is None) == (how is None)
            if how is not None:
                assert how.bits == args.num_bits
                assert how.is_integer == (args.type == "int")
                assert how.static == (operand == "activations" and not args.dynamic)


def test_only_static_scales_and_the_one_above_nvfp4s_groups_need_calibration() -> None:
    needing = {name for name, scheme in SCHEMES.items() if scheme.activations and scheme.activations.needs_calibration}
    assert needing == {"W8A8_STATIC", "FP8", "NVFP4"}


@pytest.mark.parametrize(
    ("asked", "name"),
    [("INT8", "W8A8"), ("int8", "W8A8"), ("nvfp4", "NVFP4"), ("Fp8_Dynamic", "FP8_DYNAMIC"), ("FP16", "FP16")],
)
def test_a_scheme_is_found_by_its_name_or_alias_in_any_case(asked: str, name: str) -> None:
    assert scheme_called(asked) is SCHEMES[name]


@pytest.mark.parametrize(("asked", "near"), [("NVFP5", "NVFP4"), ("W8A", "W8A8"), ("FP8_DYNAMC", "FP8_DYNAMIC")])
def test_an_unknown_scheme_is_refused_with_the_nearest_and_all_names(asked: str, near: str) -> None:
    with pytest.raises(InputError) as refused:
        scheme_called(asked)
    text = str(refused.value)
    assert f"no scheme called {asked!r}" in text
    assert f"did you mean {near}? " in text
    assert all(name in text for name in SCHEMES)
    assert len(text.splitlines()) <= 3


def test_a_name_like_no_other_is_refused_without_a_guess() -> None:
    with pytest.raises(InputError, match="no scheme called 'q'\n  there are W8A8, ") as refused:
        scheme_called("q")
    assert "did you mean" not in str(refused.value)


def test_aliases_and_defaults_are_names_of_schemes() -> None:
    assert set(ALIASES.values()) | set(DEFAULT_SCHEMES) <= set(SCHEMES)


IN_WORDS = {
    "W8A8": "activations int8 per token, weights int8 per channel",
    "W8A8_STATIC": "activations int8 per tensor, static, weights int8 per channel",
    "FP8": "activations fp8_e4m3 per tensor, static, weights fp8_e4m3 per tensor",
    "FP8_DYNAMIC": "activations fp8_e4m3 per token, weights fp8_e4m3 per channel",
    "FP8_BLOCK": "activations fp8_e4m3 per group of 128, weights fp8_e4m3 per block of 128",
    "MXFP8": "activations fp8_e4m3 per group of 32, weights fp8_e4m3 per group of 32",
    "MXFP4": "activations fp4_e2m1 per group of 32, weights fp4_e2m1 per group of 32",
    "NVFP4": "activations fp4_e2m1 per group of 16, weights fp4_e2m1 per group of 16",
    "W4A8": "activations int8 per token, weights int4 per group of 128",
    "W4AFP8": "activations fp8_e4m3 per token, weights int4 per group of 128",
    "W4A16": "activations in 16 bits, weights int4 per group of 128",
    "W8A16": "activations in 16 bits, weights int8 per group of 128",
    "MXFP8A16": "activations in 16 bits, weights fp8_e4m3 per group of 32",
    "MXFP4A16": "activations in 16 bits, weights fp4_e2m1 per group of 32",
    "NVFP4A16": "activations in 16 bits, weights fp4_e2m1 per group of 16",
    "FP16": "every tensor in float16",
    "BF16": "every tensor in bfloat16",
}


def test_every_scheme_says_in_words_what_it_quantizes() -> None:
    assert {name: scheme.in_words for name, scheme in SCHEMES.items()} == IN_WORDS


@pytest.mark.parametrize(
    ("name", "width", "refused"), [("MXFP4", 40, True), ("MXFP4", 64, False), ("NVFP4", 40, True), ("NVFP4", 48, False)]
)
def test_a_width_that_groups_do_not_divide_is_refused_with_both_numbers(name: str, width: int, refused: bool) -> None:
    how = quantizer(name, "activations")
    assert how.refuses(width) == (f"{width} is no multiple of its groups of {how.group}" if refused else "")
    assert quantizer("W8A8", "activations").refuses(width) == quantizer("FP8_BLOCK", "weights").refuses(width) == ""


# -- sums
# ----------------------------------------------------------------------------------------------------

_WHOLE = st.integers(0, 1 << 20)
_ENERGY = _WHOLE.map(float)  # whole numbers: their sums are exact in any order
_SUMS = st.builds(
    SchemeSums,
    tokens=_WHOLE,
    entries=_WHOLE,
    nonzero=_WHOLE,
    clipped=_WHOLE,
    flushed=_WHOLE,
    calm_tokens=_WHOLE,
    signal=_ENERGY,
    error=_ENERGY,
    signal_abs=_ENERGY,
    error_abs=_ENERGY,
    signal_squares=_ENERGY,
    error_squares=_ENERGY,
    products=_ENERGY,
    calm_signal=_ENERGY,
    calm_error=_ENERGY,
    token_db=st.dictionaries(st.integers(0, DB_BINS - 1), st.integers(1, 99), max_size=5).map(
        lambda d: tuple(sorted(d.items()))
    ),
    levels=st.sets(st.integers(0, 255), max_size=9).map(lambda s: tuple(sorted(s))),
)


@given(_SUMS, _SUMS, _SUMS)
def test_sums_add_in_any_order_and_nothing_is_their_zero(a: SchemeSums, b: SchemeSums, c: SchemeSums) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + SchemeSums() == a
    whole = asdict(a + b + c)
    for key in ("tokens", "clipped", "signal", "error", "products", "calm_error"):
        assert whole[key] == getattr(a, key) + getattr(b, key) + getattr(c, key)
    assert set(whole["levels"]) == {*a.levels, *b.levels, *c.levels}
    for place, count in whole["token_db"]:
        assert count == sum(dict(part.token_db).get(place, 0) for part in (a, b, c))


def energies(tokens: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Signal and error of tokens, unequal and correlated as those of real tokens are."""
    generator = np.random.default_rng(seed)
    signal = generator.lognormal(0.0, 1.0, tokens)
    return signal, 1e-3 * signal**0.7 * generator.lognormal(0.0, 0.6, tokens)


def sums_of(signal: np.ndarray, error: np.ndarray) -> SchemeSums:
    places = np.floor((10 * np.log10(signal / error) - DB_LOWEST) / DB_PER_BIN).astype(int)
    bins, counts = np.unique(places, return_counts=True)
    return SchemeSums(
        tokens=len(signal),
        entries=len(signal),
        signal=signal.sum(),
        error=error.sum(),
        signal_squares=(signal**2).sum(),
        error_squares=(error**2).sum(),
        products=(signal * error).sum(),
        token_db=tuple((int(place), int(count)) for place, count in zip(bins, counts, strict=True)),
    )


def test_the_standard_error_is_the_scatter_of_samples_drawn_from_the_population() -> None:
    signal, error = energies(3000)
    generator, drawn, stated = np.random.default_rng(1), [], []
    for _ in range(2500):
        chosen = generator.choice(3000, 900, replace=False)
        drawn.append(10 * np.log10(signal[chosen].sum() / error[chosen].sum()))
        stated.append(sums_of(signal[chosen], error[chosen]).sqnr_error_db(3000))
    assert np.mean(stated) == pytest.approx(np.std(drawn), rel=0.08)


def test_the_standard_error_is_the_delta_method_worked_out_token_by_token() -> None:
    signal, error = energies(400)
    n, ratio = len(signal), error.sum() / signal.sum()
    of_the_mean = np.sqrt(np.mean((error - ratio * signal) ** 2) / n * (1 - n / 5000))
    wanted = 10 / np.log(10) * of_the_mean / error.mean()
    assert sums_of(signal, error).sqnr_error_db(5000) == pytest.approx(wanted, rel=1e-9)


def test_the_standard_error_is_the_scatter_of_a_bootstrap_where_the_population_is_large() -> None:
    signal, error = energies(1500)
    generator = np.random.default_rng(2)
    drawn = []
    for _ in range(2000):
        chosen = generator.integers(0, 1500, 1500)
        drawn.append(10 * np.log10(signal[chosen].sum() / error[chosen].sum()))
    assert sums_of(signal, error).sqnr_error_db(10**9) == pytest.approx(np.std(drawn), rel=0.08)


def test_a_sample_of_everything_has_no_standard_error() -> None:
    signal, error = energies(50)
    assert sums_of(signal, error).sqnr_error_db(50) == 0.0
    assert sums_of(signal, error).sqnr_error_db(51) > 0.0


@pytest.mark.parametrize("q", [0.001, 0.01, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("tokens", [1, 2, 7, 400])
def test_a_quantile_over_tokens_is_numpys_to_the_lower_edge_of_its_bin(q: float, tokens: int) -> None:
    signal, error = energies(tokens)
    wanted = np.quantile(10 * np.log10(signal / error), q, method="inverted_cdf")
    found = sums_of(signal, error).token_quantile_db(q)
    assert found - 1e-9 <= wanted < found + DB_PER_BIN + 1e-9


def test_tokens_without_an_error_are_infinitely_good_and_no_tokens_are_nothing() -> None:
    sums = SchemeSums(tokens=4, token_db=((1200, 1), (DB_BINS - 1, 3)))
    assert sums.token_quantile_db(0.25) == pytest.approx(0.0)
    assert sums.token_quantile_db(0.5) == math.inf
    assert math.isnan(SchemeSums().token_quantile_db(0.5))


@pytest.mark.parametrize(
    ("signal", "error", "wanted"),
    [
        (100.0, 1.0, 20.0),
        (1.0, 100.0, -20.0),
        (5.0, 0.0, math.inf),
        (0.0, 0.0, math.inf),
        (0.0, 1.0, -math.inf),
        (1.0, math.inf, -math.inf),
    ],
)
def test_energies_as_decibel(signal: float, error: float, wanted: float) -> None:
    assert decibel(signal, error) == wanted
    assert SchemeSums(signal=signal, error=error).sqnr_db == wanted


@pytest.mark.parametrize(
    ("signal", "error"), [(math.nan, 1.0), (1.0, math.nan), (math.nan, 0.0), (math.inf, 1.0), (math.inf, math.inf)]
)
def test_energies_that_are_no_numbers_never_pass_for_a_good_ratio(signal: float, error: float) -> None:
    assert not decibel(signal, error) >= 0.0


def test_the_sqnr_without_massive_tokens_is_nan_where_there_are_no_others() -> None:
    assert math.isnan(SchemeSums(tokens=3, signal=1.0, error=0.1).calm_sqnr_db)
    assert SchemeSums(tokens=3, calm_tokens=2, calm_signal=10.0, calm_error=0.1).calm_sqnr_db == pytest.approx(20.0)
