"""Low-bit schemes are bit for bit what compressed-tensors does with a tensor."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_maxact.checkpoint import quantize as numerics
from pytest_maxact.checkpoint.quantize import fake_quantized, quantize
from tests.support.deployed import WITHOUT_PRESET, by_compressed_tensors
from tests.support.quantizing import DTYPES, OPERANDS, WIDTH, normal, quantized_by_itself, quantizer, same

WITH_PRESET = [(name, operand) for name, operand in OPERANDS if name not in WITHOUT_PRESET]


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


def at_the_end_of_the_range(dtype: torch.dtype) -> torch.Tensor:
    """From 1.75 times the highest power of two on, which is 57 344 in float16, that power rounds to infinity."""
    x, top = normal(), 2.0 ** (15 if dtype == torch.float16 else 127)
    for row, share in enumerate((1.0, 1.74, 1.75, -1.75, 1.99, -1.5)):
        x[row, 3 * row] = share * top
    x[7] = 1.75 * top
    return x


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
    "the end of the range": at_the_end_of_the_range,
    "nothing but zero": lambda dtype: torch.zeros(6, WIDTH),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "operand"), WITH_PRESET)
def test_every_scheme_is_that_of_compressed_tensors_bit_for_bit(name: str, operand: str, dtype: torch.dtype) -> None:
    for material, make in MATERIALS.items():
        x = make(dtype).to(dtype)
        assert x.isfinite().all()
        how, wanted = quantizer(name, operand), by_compressed_tensors(x, name, operand)
        assert wanted.restored.dtype == dtype
        assert same(fake_quantized(x, how), wanted.restored), material
        for found in (quantized_by_itself(x, how), quantize(x, how)):
            assert found.restored.dtype == dtype
            assert same(found.restored, wanted.restored), material
            assert torch.equal(found.levels, wanted.levels), material
            assert torch.equal(found.clipped, wanted.clipped), material


@pytest.mark.parametrize("name", ["MXFP8", "MXFP4"])
def test_an_mx_group_in_float16_whose_largest_entry_rounds_to_57_344_is_no_number(name: str) -> None:
    x = torch.full((1, 64), 2.0, dtype=torch.float16)
    x[0, 5], x[0, 40] = 57343.0, 57311.0
    restored = fake_quantized(x, quantizer(name, "activations"))
    assert restored[0, :32].isnan().all()
    assert restored[0, 32:].isfinite().all()


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
@example(("MXFP8", "activations"), torch.float16, 1, [57343.0], 0, 0)
@example(("MXFP4", "weights"), torch.float16, 1, [57343.0, 2.0], 0, 0)
def test_any_finite_tensor_is_quantized_as_compressed_tensors_does_it(
    operand: tuple[str, str], dtype: torch.dtype, rows: int, entries: list[float], power: int, seed: int
) -> None:
    places = torch.randint(len(entries), (rows, 128), generator=torch.Generator().manual_seed(seed))
    x = (torch.tensor(entries)[places] * 2.0**power).clamp(-60000, 60000).to(dtype)
    found, wanted = quantized_by_itself(x, quantizer(*operand)), by_compressed_tensors(x, *operand)
    assert same(found.restored, wanted.restored)
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
