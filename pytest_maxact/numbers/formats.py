"""Low-bit formats and what they do to a tensor whose exact magnitude histogram is known.

The paper's INT-8 check (arXiv 2605.15572): symmetric uniform quantization per tensor, levels -127..127, the scale from
a calibration split, the error on an evaluation split. Two policies set the scale: `max_abs` (the calibration maximum)
and `clip_q0.999` (the 0.999 quantile of |x|). Beside them stands `optimal`, the threshold of least squared error on the
calibration split. Any other quantile and width can be asked for. FP8 (E4M3, one scale from the calibration maximum) is
computed in the tensor's own arithmetic, as it is deployed; FP16 and BF16 are casts. Because every grid is symmetric the
error depends on |x| alone, so the histogram gives it exactly, in float64.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_maxact.numbers.dot import dot
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.sums import decibel

INT8_POLICIES = ("max_abs", "clip_q0.999")
BITS = range(2, 17)
FP8_MAX, FP16_MAX, BF16_MAX = 448.0, 65504.0, 3.3895313892515355e38
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
EPSILON = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23}
"""What stands for a scale of zero."""
_COARSE, _FINE = 96, 33
_DEEPEST = 16
"""So many powers of two below the largest magnitude the search begins at the latest, for a rare one may be clipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatDistortion:
    """What one format under one policy costs a tensor; ratios are dimensionless, `threshold` is in units of the
    activation.

    `sqnr_db` is inf where nothing was lost. `flush_to_zero` is the share of the non-zero entries that become zero,
    `levels_used` how many of the format's magnitude levels (0..127 for INT-8) any entry maps to: whole-tensor SQNR
    looks fine while both say that little is left.
    """

    policy: str
    threshold: float
    sqnr_db: float
    rel_rmse: float
    rel_mae: float
    clip_rate: float
    flush_to_zero: float
    levels_used: int


def clip_threshold(calibration: Histogram, policy: str, bits: int = 8) -> float:
    """The magnitude that the largest level stands for: `max_abs`, `clip_q<Q>` for any quantile 0 < Q <= 1, or `optimal`
    for integers of `bits`.

    Raises ValueError for any other policy.
    """
    if policy == "max_abs":
        return calibration.max_abs
    if policy == "optimal":
        return _optimal_threshold(calibration, bits)
    if policy.startswith("clip_q"):
        return calibration.quantile(float(policy.removeprefix("clip_q")))
    raise ValueError(f"no clipping policy called {policy!r}; there are max_abs, optimal and clip_q<Q>")


def integer_distortion(
    calibration: Histogram, evaluation: Histogram, policy: str, bits: int = 8, at_least: float = 0.0
) -> FormatDistortion:
    """Error of symmetric per-tensor quantization to integers of 2 to 16 `bits`; non-finite entries are left out (they
    fail a check of their own). `at_least`: a threshold below which none is taken, where more than these splits
    calibrates it.

    Shapes: none, both splits are histograms of one site. A calibration split of zeros gives scale 0, under which every
    entry becomes zero. Raises ValueError for another width or policy.
    """
    if bits not in BITS:
        raise ValueError(f"integers have {BITS[0]} to {BITS[-1]} bits here, not {bits}")
    threshold = max(clip_threshold(calibration, policy, bits), at_least)
    return scaled_integers(evaluation, threshold, bits, policy)


def scaled_integers(seen: Histogram, threshold: float, bits: int = 8, policy: str = "static") -> FormatDistortion:
    """The same under a scale that is given, whose largest level stands for `threshold`."""
    values, counts = seen.finite()
    levels, restored = _round_trip(values, threshold, bits)
    return _error(policy, threshold, values, counts, levels, restored)


def integer_errors(values: Floats, threshold: float, bits: int = 8) -> Floats:
    """What such a scale leaves of magnitudes undone, entry by entry."""
    return np.abs(values - _round_trip(values, threshold, bits)[1])


def scaled_fp8(seen: Histogram, scale: float) -> FormatDistortion:
    """Error of FP8 E4M3 under a scale that is given, in float32, as kernels have it; what lies beyond is clamped."""
    values, counts = seen.finite()
    single = np.float32(scale)
    if not (np.isfinite(single) and single > 0):
        return _error("static", 0.0, values, counts, np.zeros_like(values), np.zeros_like(values))
    with np.errstate(over="ignore"):
        levels = to_e4m3(np.minimum(values.astype(np.float32) / single, np.float32(FP8_MAX)))
    restored = (levels * single).astype(np.float64)
    return _error("static", float(single) * FP8_MAX, values, counts, levels.astype(np.float64), restored)


def fp8_distortion(
    calibration: Histogram, evaluation: Histogram, dtype: str, at_least: float = 0.0
) -> FormatDistortion:
    """Error of FP8 E4M3 with one scale for the tensor, the calibration maximum over 448, in the arithmetic of `dtype`:
    `bfloat16`, `float16` or `float32`, whose scale, quotient and product are rounded to it as in compressed-tensors.
    `at_least`: as of integers.
    """
    values, counts = evaluation.finite()
    largest = max(calibration.max_abs, at_least)
    scale = rounded_to(np.asarray([largest], np.float32) / np.float32(FP8_MAX), dtype)
    scale[scale == 0] = EPSILON[dtype]
    levels = to_e4m3(np.minimum(rounded_to(values.astype(np.float32) / scale, dtype), np.float32(FP8_MAX)))
    restored = rounded_to(levels * scale, dtype).astype(np.float64)
    return _error("max_abs", float(scale[0]) * FP8_MAX, values, counts, levels.astype(np.float64), restored)


def static_distortion(evaluation: Histogram, number: str, top: float, largest: float, dtype: str) -> FormatDistortion:
    """Error of one static scale for the tensor, `largest` over `top`, the largest level of `number` (`fp8_e4m3`,
    `fp8_e5m2` or `int8`): computed in float32 and read back in `dtype`, as vLLM keeps a cache. A scale of 0 counts as
    1.0.
    """
    import ml_dtypes  # as below

    values, counts = evaluation.finite()
    scale = np.float32(largest) / np.float32(top) or np.float32(1)
    scaled = np.minimum(values.astype(np.float32) / scale, np.float32(top))
    if number.startswith("int"):
        levels = np.rint(scaled)
    else:
        form = {"fp8_e4m3": ml_dtypes.float8_e4m3fn, "fp8_e5m2": ml_dtypes.float8_e5m2}[number]
        levels = scaled.astype(form).astype(np.float32)
    restored = rounded_to(levels * scale, dtype).astype(np.float64)
    return _error(number, largest or top, values, counts, levels.astype(np.float64), restored)


def cast_distortion(seen: Histogram, dtype: str) -> FormatDistortion:
    """Error of a cast to `float16` or `bfloat16`; `clip_rate` is the share that becomes infinite, and SQNR is then
    -inf.
    """
    values, counts = seen.finite()
    with np.errstate(over="ignore"):
        restored = rounded_to(values.astype(np.float32), dtype).astype(np.float64)
    return _error("cast", FP16_MAX if dtype == "float16" else BF16_MAX, values, counts, restored, restored)


def _error(
    policy: str, threshold: float, values: Floats, counts: Counts, levels: Floats, restored: Floats
) -> FormatDistortion:
    """Figures of a round trip of magnitudes, of which every one occurred so often."""
    error, weights = np.abs(values - restored), counts.astype(np.float64)
    signal_energy, error_energy = dot(values * values, weights), dot(error * error, weights)
    signal_sum = dot(values, weights)
    total, nonzero = int(counts.sum()), int(counts[values > 0].sum())
    return FormatDistortion(
        policy=policy,
        threshold=threshold,
        sqnr_db=decibel(signal_energy, error_energy),
        rel_rmse=math.sqrt(error_energy / signal_energy) if signal_energy else 0.0,
        rel_mae=dot(error, weights) / signal_sum if signal_sum else 0.0,
        clip_rate=int(counts[values > threshold].sum()) / total if total else 0.0,
        flush_to_zero=int(counts[(values > 0) & (levels == 0)].sum()) / nonzero if nonzero else 0.0,
        levels_used=_distinct(levels),
    )


def _distinct(levels: Floats) -> int:
    """How many levels there are; those of magnitudes that increase never decrease."""
    return int((levels[1:] != levels[:-1]).sum()) + bool(levels.size)


def rounded_to(values: npt.NDArray[np.float32], dtype: str) -> npt.NDArray[np.float32]:
    """float32 values rounded to `dtype`, to even, as float32."""
    if dtype == "float32":
        return values
    if dtype == "float16":
        return values.astype(np.float16).astype(np.float32)
    import ml_dtypes  # 18 ms, which a Record without low-bit schemes need not wait for

    return values.astype(ml_dtypes.bfloat16).astype(np.float32)


def to_e4m3(magnitudes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Magnitudes up to 448 rounded to three bits of mantissa, below 2^-6 to multiples of 2^-9; to even."""
    import ml_dtypes

    return magnitudes.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)


def _round_trip(values: Floats, threshold: float, bits: int) -> tuple[Floats, Floats]:
    """Levels of magnitudes and what they stand for."""
    if threshold <= 0.0:
        return np.zeros_like(values), np.zeros_like(values)
    top = (1 << (bits - 1)) - 1
    scale = threshold / top
    levels = np.minimum(np.rint(values / scale), top)
    return levels, levels * scale


def _optimal_threshold(calibration: Histogram, bits: int) -> float:
    """The threshold of least squared error, by a search in three steps: over all magnitudes, around the best, around
    the best of those.
    """
    top = calibration.max_abs
    if top == 0.0:
        return 0.0
    values, counts = calibration.finite()
    weights = counts.astype(np.float64)

    def best(thresholds: Floats) -> float:
        energies = [dot((values - _round_trip(values, float(t), bits)[1]) ** 2, weights) for t in thresholds]
        return float(thresholds[int(np.argmin(energies))])

    low = max(float(values[values > 0][0]), top * 2.0 ** -max(_DEEPEST, 2 * bits))
    coarse = np.geomspace(low, top, _COARSE)
    middle = best(coarse)
    step = (top / low) ** (1 / (_COARSE - 1))
    fine = best(np.append(np.minimum(np.geomspace(middle / step, middle * step, _FINE), top), middle))
    step = step ** (2 / (_FINE - 1))
    return best(np.append(np.minimum(np.geomspace(fine / step, fine * step, _FINE), top), fine))
