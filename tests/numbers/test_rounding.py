"""Rounding to bfloat16 and to FP8 E4M3 is what the formats say, on every value: against integers and powers of two, and
against torch.
"""

import numpy as np
import numpy.typing as npt
import torch

from pytest_maxact.numbers.formats import FP8_MAX, rounded_to, to_e4m3

Floats = npt.NDArray[np.float32]


def every_bfloat16() -> Floats:
    """All 65 536 bit patterns."""
    return (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)


def around_every_bfloat16() -> Floats:
    """Of every bfloat16 the float32 values below, at and above the tie with its neighbour, next to it, and one at
    random.
    """
    low = [0x0000, 0x0001, 0x4000, 0x7FFE, 0x7FFF, 0x8000, 0x8001, 0x8002, 0xC000, 0xFFFF]
    high = np.arange(1 << 16, dtype=np.uint32) << 16
    random = np.random.default_rng(0).integers(0, 1 << 16, size=1 << 16, dtype=np.uint32)
    return np.concatenate([high | np.uint32(bits) for bits in low] + [high | random]).view(np.float32)


def by_bits(values: Floats) -> Floats:
    """To the nearest bfloat16, to even, by adding to the bits."""
    bits = values.view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)).view(
        np.float32
    )


def by_steps(magnitudes: Floats) -> Floats:
    """To the nearest E4M3, to even, by the step of the magnitude's power of two."""
    exponents = np.maximum(np.frexp(magnitudes)[1] - 1, -6)
    step = np.ldexp(np.float32(1), exponents - 3).astype(np.float32)
    rounded: Floats = np.rint(magnitudes / step) * step
    return rounded


def test_every_tie_and_neighbour_rounds_to_bfloat16() -> None:
    values = around_every_bfloat16()
    numbers = values[~np.isnan(values)]
    rounded = rounded_to(numbers, "bfloat16")
    assert np.array_equal(rounded.view(np.uint32), by_bits(numbers).view(np.uint32))
    assert np.array_equal(rounded, torch.from_numpy(numbers).bfloat16().float().numpy())
    with np.errstate(invalid="ignore"):
        assert np.isnan(rounded_to(values[np.isnan(values)], "bfloat16")).all()


def test_every_bfloat16_rounds_to_e4m3() -> None:
    values = every_bfloat16()
    magnitudes = np.minimum(np.abs(values[np.isfinite(values)]), np.float32(FP8_MAX))
    assert magnitudes.size == 65_280
    rounded = to_e4m3(magnitudes)
    assert np.array_equal(rounded.view(np.uint32), by_steps(magnitudes).view(np.uint32))
    assert np.array_equal(rounded, torch.from_numpy(magnitudes).to(torch.float8_e4m3fn).float().numpy())


def test_every_float16_and_every_tie_rounds_to_e4m3() -> None:
    levels = torch.arange(127, dtype=torch.uint8).view(torch.float8_e4m3fn).float().numpy()
    ties = (levels[1:] + levels[:-1]) / 2
    halves = np.arange(1 << 15, dtype=np.uint16).view(np.float16).astype(np.float32)
    halves = np.minimum(halves[np.isfinite(halves)], np.float32(FP8_MAX))
    around = [np.nextafter(ties, np.float32(0)), ties, np.nextafter(ties, np.float32(FP8_MAX))]
    magnitudes = np.concatenate([halves, levels, *around]).astype(np.float32)
    assert np.array_equal(to_e4m3(magnitudes), by_steps(magnitudes))
