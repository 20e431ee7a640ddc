"""Low-bit schemes have the errors that are known in closed form, and never restore what is not finite to a number."""

import math

import pytest
import torch

from pytest_maxact.checkpoint.quantize import Quantized, quantize
from pytest_maxact.numbers.schemes import SCHEMES, Quantizer
from tests.support.quantizing import DTYPES, OPERANDS, WIDTH, normal, quantized_by_itself, quantizer

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
    for name in (name for name, scheme in SCHEMES.items() if scheme.activations and scheme.needs_calibration):
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
