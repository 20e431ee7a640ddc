"""FP8 and casts: the error from histograms equals that of raw tensors, with compressed_tensors and with torch."""

import math

import numpy as np
import pytest
import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import fake_quantize

from pytest_maxact.numbers.formats import (
    BF16_MAX,
    EPSILON,
    FP8_MAX,
    FP16_MAX,
    cast_distortion,
    fp8_distortion,
    integer_distortion,
)
from pytest_maxact.numbers.histogram import Histogram
from tests.support.plain_figures import Floats, figures, heavy_tailed, reported
from tests.support.records import histogram

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def split(dtype: str, seed: int, outlier: float = 0.0, size: float = 1.0) -> tuple[Floats, Histogram]:
    """Values that the encoding of a site of this dtype holds, to its last digit, and their histogram."""
    values = heavy_tailed(20_000, seed, outlier) * size
    if dtype == "float16":
        values = (values * 1.001).astype(np.float16).astype(np.float64)
    return values, histogram(values, "float16" if dtype == "float16" else "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1.0, 2.0**-7], ids=["ordinary", "small"])
def test_fp8_is_what_compressed_tensors_restores_in_the_tensors_own_arithmetic(dtype: str, size: float) -> None:
    calibration, seen = split(dtype, 1, 900.0, size)
    evaluation, judged = split(dtype, 2, -3_000.0, size)
    x = torch.from_numpy(evaluation).to(DTYPES[dtype])
    scale = (torch.tensor([np.abs(calibration).max()], dtype=torch.float32) / FP8_MAX).to(DTYPES[dtype])
    args = QuantizationArgs(num_bits=8, type="float", symmetric=True, strategy="tensor")
    restored = fake_quantize(x, scale, torch.zeros(1, dtype=DTYPES[dtype]), args).double().numpy()
    levels = (x / scale).float().clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn).double().numpy()
    expected = figures(evaluation, restored, levels, float(scale) * FP8_MAX)
    found = fp8_distortion(seen, judged, dtype)
    assert found.policy == "max_abs"
    assert found.clip_rate > 0
    assert reported(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("calibration", [[0.0, 0.0], [], [math.nan]], ids=["zeros", "nothing", "nan"])
def test_a_zero_fp8_scale_is_replaced_by_the_epsilon_of_the_dtype(dtype: str, calibration: list[float]) -> None:
    epsilon = torch.finfo(DTYPES[dtype]).eps
    assert EPSILON[dtype] == epsilon
    encoding = "float16" if dtype == "float16" else "bfloat16"
    on_the_grid = histogram([epsilon, 1.5 * epsilon, 448 * epsilon], encoding)
    found = fp8_distortion(histogram(calibration, encoding), on_the_grid, dtype)
    assert (found.threshold, found.sqnr_db, found.clip_rate, found.flush_to_zero) == (448 * epsilon, math.inf, 0.0, 0.0)
    assert found.levels_used == 3


def test_a_threshold_is_no_lower_than_what_else_was_seen() -> None:
    seen, judged = histogram([1.0, 2.0]), histogram([1.0, 3.0, 8.0])
    for wider in (16.0, 2.0, 0.5, 0.0):
        same = histogram([max(wider, 2.0)])
        for dtype in DTYPES:
            assert fp8_distortion(seen, judged, dtype, wider) == fp8_distortion(same, judged, dtype)
        assert integer_distortion(seen, judged, "max_abs", 8, wider) == integer_distortion(same, judged, "max_abs")


def test_a_scale_too_small_for_float16_counts_as_zero() -> None:
    """2^-24 / 448 is no float16."""
    found = fp8_distortion(histogram([2.0**-24], "float16"), histogram([1.0], "float16"), "float16")
    assert found.threshold == 448 * 2.0**-10
    assert found.rel_rmse == pytest.approx(1 - 448 * 2.0**-10)


def test_fp8_keeps_multiples_of_a_512th_below_its_normal_range() -> None:
    calibration = histogram([448.0])
    subnormal = histogram([k * 2.0**-9 for k in range(1, 9)])
    found = fp8_distortion(calibration, subnormal, "bfloat16")
    assert (found.sqnr_db, found.flush_to_zero, found.levels_used) == (math.inf, 0.0, 8)
    below = fp8_distortion(calibration, histogram([2.0**-10, 2.0**-11, 0.0]), "bfloat16")
    assert (below.flush_to_zero, below.levels_used, below.rel_rmse) == (1.0, 1, 1.0), "a tie goes to the even zero"


@pytest.mark.parametrize("target", ["float16", "bfloat16"])
@pytest.mark.parametrize("encoding", ["float16", "bfloat16"])
def test_a_cast_is_that_of_torch(target: str, encoding: str) -> None:
    values = np.append(split(encoding, 3)[0], 3.0 * 2.0 ** np.arange(-27.0 if encoding == "bfloat16" else -24.0, -10.0))
    restored = torch.from_numpy(values).float().to(DTYPES[target]).double().numpy()
    expected = figures(values, restored, restored, {"float16": FP16_MAX, "bfloat16": BF16_MAX}[target])
    found = cast_distortion(histogram(values, encoding), target)
    assert found.policy == "cast"
    assert reported(found) == pytest.approx(expected, rel=1e-9)
    assert (found.sqnr_db == math.inf) == (target == encoding)


def test_a_cast_to_float16_counts_what_becomes_infinite_and_what_becomes_zero() -> None:
    found = cast_distortion(histogram([1.0, 65280.0, 65536.0, 2.0**-26]), "float16")
    assert (found.sqnr_db, found.clip_rate, found.flush_to_zero) == (-math.inf, 0.25, 0.25)
    assert (found.threshold, found.levels_used) == (65504.0, 4)
    assert cast_distortion(histogram([1.0, 65280.0, math.inf]), "float16").clip_rate == 0.0, "no entry of the cast's"
    assert cast_distortion(histogram([BF16_MAX]), "bfloat16").sqnr_db == math.inf
    assert cast_distortion(histogram([]), "float16").levels_used == 0
