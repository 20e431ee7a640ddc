"""The error of a format, from two histograms, equals quantizing the raw tensors: in plain float64, and by
compressed_tensors.
"""

import math

import numpy as np
import pytest
import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_maxact.numbers.formats import INT8_POLICIES, clip_threshold, integer_distortion
from pytest_maxact.numbers.histogram import Histogram
from tests.support.plain_figures import Floats, figures, heavy_tailed, reported
from tests.support.records import bf16, histogram

patient = settings(deadline=None)
SMALLEST = 2.0**-133
"""Smallest positive bfloat16."""


def threshold_of(calibration: Floats, policy: str) -> float:
    """The clip threshold by sorting the raw finite values."""
    sizes = np.sort(np.abs(calibration[np.isfinite(calibration)]))
    if not sizes.size:
        return 0.0
    q = 1.0 if policy == "max_abs" else float(policy.removeprefix("clip_q"))
    return float(sizes[math.ceil(round(q * sizes.size, 6)) - 1])


def quantized(values: Floats, threshold: float, bits: int = 8) -> tuple[Floats, Floats]:
    """Signed levels and restored values, entry by entry."""
    top = 2 ** (bits - 1) - 1
    if threshold == 0.0:
        return np.zeros_like(values), np.zeros_like(values)
    levels = np.clip(np.rint(values / (threshold / top)), -top, top)
    return levels, levels * (threshold / top)


def direct(calibration: Floats, evaluation: Floats, policy: str, bits: int = 8) -> dict[str, float]:
    threshold, finite = threshold_of(calibration, policy), evaluation[np.isfinite(evaluation)]
    levels, restored = quantized(finite, threshold, bits)
    return figures(finite, restored, levels, threshold)


signed = st.one_of(
    st.sampled_from(
        [0.0, -0.0, 1.0, -1.0, SMALLEST, -SMALLEST, 127.0, 3.3895313892515355e38, math.inf, -math.inf, math.nan]
    ),
    st.floats(-1e5, 1e5, width=32),
    st.floats(-2.0, 2.0, width=32),
)
splits = st.lists(signed, max_size=120).map(bf16)
policies = st.sampled_from(
    [*INT8_POLICIES, "clip_q0.5", "clip_q0.9", "clip_q0.95", "clip_q0.99", "clip_q0.9999", "clip_q1.0"]
)


@patient
@given(splits, splits, policies, st.sampled_from([2, 4, 8, 12]))
@example(bf16([1.0, -2.0, 3.0]), bf16([]), "max_abs", 8)
@example(bf16([]), bf16([1.0, -2.0]), "clip_q0.999", 8)
def test_every_quantity_equals_quantizing_the_raw_tensors(
    calibration: Floats, evaluation: Floats, policy: str, bits: int
) -> None:
    error = integer_distortion(histogram(calibration), histogram(evaluation), policy, bits)
    expected = direct(calibration, evaluation, policy, bits)
    assert error.policy == policy
    for name, value in reported(error).items():
        if name == "levels_used" and not np.isfinite(evaluation).any():
            assert value == 0
        else:
            assert value == pytest.approx(expected[name], rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("bits", [3, 4, 8, 16])
@pytest.mark.parametrize("policy", [*INT8_POLICIES, "clip_q0.98"])
def test_large_tensors_agree_in_every_digit_that_float64_sums_keep(policy: str, bits: int) -> None:
    calibration, evaluation = heavy_tailed(40_000, seed=1), heavy_tailed(80_000, seed=2, outlier=-17_664.0)
    error = integer_distortion(histogram(calibration), histogram(evaluation), policy, bits)
    assert reported(error) == pytest.approx(direct(calibration, evaluation, policy, bits), rel=1e-11)


def test_float16_tensors_are_quantized_as_their_own_values() -> None:
    calibration, evaluation = (heavy_tailed(5_000, seed).astype(np.float16).astype(np.float64) for seed in (3, 4))
    for policy in INT8_POLICIES:
        error = integer_distortion(histogram(calibration, "float16"), histogram(evaluation, "float16"), policy)
        assert reported(error) == pytest.approx(direct(calibration, evaluation, policy), rel=1e-11)


def by_compressed_tensors(values: Floats, threshold: float, bits: int) -> Floats:
    """What the quantizer that vLLM's checkpoints are made with restores, in float64, with our scale."""
    scale = torch.tensor([threshold / (2 ** (bits - 1) - 1)], dtype=torch.float64)
    args = QuantizationArgs(num_bits=bits, type="int", symmetric=True, strategy="tensor")
    return np.asarray(fake_quantize(torch.from_numpy(values), scale, torch.zeros(1, dtype=torch.float64), args).numpy())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("policy", [*INT8_POLICIES, "clip_q0.9"])
def test_compressed_tensors_restores_the_same_tensor(policy: str, bits: int) -> None:
    """Its range is -128..127, ours -127..127: entries below minus the threshold are given to it as positive, where both
    clip at 127.
    """
    calibration, evaluation = (
        heavy_tailed(20_000, seed=5, outlier=900.0),
        heavy_tailed(40_000, seed=6, outlier=-3_000.0),
    )
    error = integer_distortion(histogram(calibration), histogram(evaluation), policy, bits)
    values = np.where(evaluation < -error.threshold, -evaluation, evaluation)
    restored = by_compressed_tensors(values, error.threshold, bits)
    scale = error.threshold / (2 ** (bits - 1) - 1)
    expected = figures(values, restored, np.rint(restored / scale), threshold_of(calibration, policy))
    assert (values < 0).mean() > 0.3, "both signs went through the other implementation"
    assert error.clip_rate > 0, "so did entries beyond the threshold"
    assert error.sqnr_db == pytest.approx(expected["sqnr_db"], abs=1e-7)
    assert reported(error) == pytest.approx(expected, rel=1e-9)


def test_a_constant_tensor_is_restored_exactly() -> None:
    constant = histogram(np.full(1000, -4.0))
    for policy in INT8_POLICIES:
        error = integer_distortion(constant, constant, policy)
        assert error.rel_rmse == pytest.approx(0.0, abs=1e-15)
        assert error.sqnr_db > 300
        assert (error.threshold, error.clip_rate, error.flush_to_zero, error.levels_used) == (4.0, 0.0, 0.0, 1)


def test_a_tensor_on_the_grid_loses_nothing() -> None:
    levels = histogram(np.arange(-127.0, 128.0))
    error = integer_distortion(levels, levels, "max_abs")
    assert (error.sqnr_db, error.rel_rmse, error.rel_mae, error.levels_used) == (math.inf, 0.0, 0.0, 128)


def test_half_a_step_rounds_to_even() -> None:
    error = integer_distortion(histogram([127.0]), histogram([0.5, 1.5, 2.5]), "max_abs")
    assert error.flush_to_zero == pytest.approx(1 / 3)
    assert error.levels_used == 2, "0.5 to 0, 1.5 and 2.5 to 2"
    assert error.sqnr_db == pytest.approx(10 * math.log10((0.25 + 2.25 + 6.25) / 0.75))


def test_zeros_lose_nothing() -> None:
    zeros = histogram(np.zeros(64))
    assert reported(integer_distortion(zeros, zeros, "max_abs")) == {
        "threshold": 0.0,
        "sqnr_db": math.inf,
        "rel_rmse": 0.0,
        "rel_mae": 0.0,
        "clip_rate": 0.0,
        "flush_to_zero": 0.0,
        "levels_used": 1,
    }


@pytest.mark.parametrize("policy", INT8_POLICIES)
@pytest.mark.parametrize(
    "calibration", [np.zeros(64), np.zeros(0), np.full(3, math.nan)], ids=["zeros", "nothing", "nan"]
)
def test_calibration_that_saw_no_magnitude_makes_everything_zero(calibration: Floats, policy: str) -> None:
    error = integer_distortion(histogram(calibration), histogram([0.0, 1.0, -2.0, 4.0]), policy)
    assert (error.sqnr_db, error.rel_rmse, error.rel_mae) == (0.0, 1.0, 1.0)
    assert (error.clip_rate, error.flush_to_zero, error.levels_used) == (0.75, 1.0, 1)


def test_one_outlier_in_uniform_noise_has_the_error_of_its_step() -> None:
    """Uniform noise over many steps has error variance step^2 / 12 (Bennett 1948)."""
    noise = bf16(np.random.default_rng(7).uniform(-1.0, 1.0, 200_000))
    with_outlier = np.append(noise, 16.0)
    error = integer_distortion(histogram(with_outlier), histogram(with_outlier), "max_abs")
    step = 16.0 / 127
    signal = float(np.mean(with_outlier**2))
    assert error.sqnr_db == pytest.approx(10 * math.log10(signal / (step**2 / 12)), abs=0.15)
    assert error.flush_to_zero == pytest.approx(step / 2, rel=0.05)
    clipped = integer_distortion(histogram(with_outlier), histogram(with_outlier), "clip_q0.999")
    assert clipped.threshold == noise.max() < 1.0
    assert clipped.clip_rate == 1 / 200_001, (
        "bfloat16 has 128 values below 1, so the quantile is the largest of the noise"
    )


def test_clipping_an_outlier_costs_its_energy() -> None:
    calibration, evaluation = np.full(100, 2.0), np.append(np.full(99, 2.0), -10.0)
    error = integer_distortion(histogram(calibration), histogram(evaluation), "max_abs")
    assert error.sqnr_db == pytest.approx(10 * math.log10((99 * 4 + 100) / 64))
    assert error.rel_rmse == pytest.approx(8 / math.sqrt(496))
    assert error.rel_mae == pytest.approx(8 / 208)
    assert error.clip_rate == 0.01


def test_subnormals_are_quantized_like_any_magnitude() -> None:
    subnormals = SMALLEST * np.arange(1.0, 128.0)
    error = integer_distortion(histogram(subnormals), histogram(subnormals), "max_abs")
    assert error.threshold == 127 * SMALLEST
    assert (error.sqnr_db, error.flush_to_zero, error.levels_used) == (math.inf, 0.0, 127)
    beside_one = integer_distortion(histogram([1.0]), histogram(np.append(subnormals, 1.0)), "max_abs")
    assert beside_one.flush_to_zero == 127 / 128


def test_the_largest_bfloat16_does_not_overflow() -> None:
    largest = 3.3895313892515355e38
    error = integer_distortion(histogram([largest]), histogram([largest, largest / 2]), "max_abs")
    assert error.sqnr_db == pytest.approx(
        direct(bf16([largest]), bf16([largest, largest / 2]), "max_abs")["sqnr_db"], rel=1e-9
    )
    assert 0 < error.rel_rmse < 0.01


def test_non_finite_entries_are_left_out_of_both_splits() -> None:
    broken = [math.inf, -math.inf, math.nan]
    calibration, evaluation = heavy_tailed(500, seed=8), heavy_tailed(500, seed=9)
    for policy in INT8_POLICIES:
        clean = integer_distortion(histogram(calibration), histogram(evaluation), policy)
        assert (
            integer_distortion(histogram([*calibration, *broken]), histogram([*evaluation, *broken]), policy) == clean
        )


def linear_histogram_quantile(values: Floats, q: float, bins: int = 2048) -> float:
    """The upper edge of the bin that holds the quantile, as the published scripts read it."""
    counts, edges = np.histogram(np.abs(values), bins=bins, range=(0.0, float(np.abs(values).max())))
    return float(edges[1 + int(np.searchsorted(np.cumsum(counts), math.ceil(q * values.size)))])


def test_the_clip_quantile_is_exact_where_a_linear_histogram_returns_its_first_bin() -> None:
    values = bf16(np.append(np.random.default_rng(10).standard_normal(100_000), 35_328.0))
    first_bin = 35_328.0 / 2048
    assert {linear_histogram_quantile(values, q) for q in (0.5, 0.9, 0.999)} == {first_bin}, "one bin holds them all"
    exact = clip_threshold(histogram(values), "clip_q0.999")
    assert exact == np.sort(np.abs(values))[math.ceil(0.999 * values.size) - 1]
    assert exact == pytest.approx(3.29, abs=0.06), "of a standard normal, 0.1 % of |x| lie above 3.29"
    assert exact < first_bin / 5
    assert integer_distortion(histogram(values), histogram(values), "clip_q0.999").threshold == exact


def test_an_sqnr_of_12_db_with_nearly_everything_flushed_is_visible() -> None:
    """Three entries carry the energy, the scale is theirs, and whole-tensor SQNR does not see that the rest became
    zero.
    """
    values = bf16(np.append(np.random.default_rng(11).standard_normal(200_000), [1024.0, -1024.0, 1024.0]))
    error = integer_distortion(histogram(values), histogram(values), "max_abs")
    assert error.sqnr_db == pytest.approx(12.2, abs=0.3)
    assert error.flush_to_zero > 0.999
    assert error.levels_used <= 4
    harmless = bf16(np.random.default_rng(11).uniform(-1, 1, 200_000))
    assert integer_distortion(histogram(harmless), histogram(harmless), "max_abs").flush_to_zero < 0.01


@pytest.mark.parametrize("policy", ["", "max", "q0.999", "clip_", "clip_max", "max_abs "])
def test_an_unknown_policy_is_refused(policy: str) -> None:
    with pytest.raises(ValueError, match=r"no clipping policy called .*; there are max_abs, optimal and clip_q<Q>"):
        clip_threshold(histogram([1.0]), policy)


@pytest.mark.parametrize("policy", ["clip_q0", "clip_q1.5", "clip_qnan", "clip_q-0.5"])
def test_a_clip_quantile_outside_its_range_is_refused(policy: str) -> None:
    with pytest.raises(ValueError, match="a quantile lies in"):
        clip_threshold(Histogram.empty("bfloat16"), policy)


# The clip of least squared error


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("outlier", [0.0, 300.0, 13_000.0])
def test_the_optimal_clip_is_as_good_as_the_best_of_a_thousand(bits: int, outlier: float) -> None:
    values = heavy_tailed(20_000, seed=3, outlier=outlier)
    best = integer_distortion(histogram(values), histogram(values), "optimal", bits)
    top, magnitudes = (1 << (bits - 1)) - 1, np.abs(values)
    thresholds = np.geomspace(magnitudes[magnitudes > 0].min(), magnitudes.max(), 1000)
    errors = [
        np.sum((magnitudes - np.minimum(np.rint(magnitudes / (t / top)), top) * (t / top)) ** 2) for t in thresholds
    ]
    brute = 10 * math.log10(np.sum(magnitudes**2) / min(errors))
    assert best.sqnr_db >= brute - 0.01
    assert best.sqnr_db >= integer_distortion(histogram(values), histogram(values), "max_abs", bits).sqnr_db


def sqnr_at(values: Histogram, threshold: float, bits: int) -> float:
    magnitudes, counts = values.finite()
    scale = threshold / ((1 << (bits - 1)) - 1)
    lost = magnitudes - np.minimum(np.rint(magnitudes / scale), threshold / scale) * scale
    return 10 * math.log10(np.dot(magnitudes**2, counts) / np.dot(lost**2, counts))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("outlier", [0.0, 40.0, 130.0])
def test_no_threshold_near_the_optimal_one_or_far_from_it_is_better(bits: int, outlier: float) -> None:
    values = histogram(bf16(np.append(np.random.default_rng(7).normal(size=4_000), outlier)))
    found = integer_distortion(values, values, "optimal", bits)
    near, far = np.geomspace(0.8, 1.25, 400) * found.threshold, np.geomspace(2.0**-16, 1.0, 800) * values.max_abs
    others = [sqnr_at(values, float(tried), bits) for tried in (*near, *far) if tried <= values.max_abs]
    assert found.sqnr_db >= max(others)


def test_the_optimal_clip_of_a_histogram_is_the_same_in_every_version() -> None:
    values = histogram(bf16(np.random.default_rng(8).laplace(size=2_000)))
    found = {bits: integer_distortion(values, values, "optimal", bits).threshold for bits in (2, 4, 8)}
    assert found == pytest.approx({2: 1.8388677658719201, 4: 4.600670244374846, 8: 8.142818607681127}, rel=1e-12)
    wide = histogram(bf16(np.append(np.random.default_rng(8).laplace(size=2_000), 2.0**-30)))
    fine = {bits: integer_distortion(wide, wide, "optimal", bits).threshold for bits in (10, 12)}
    assert fine == pytest.approx({10: 8.164197932469422, 12: 8.181901445386389}, rel=1e-12)


def test_the_optimal_clip_is_found_on_the_calibration_split_alone() -> None:
    calm, wild = heavy_tailed(5_000, seed=4), heavy_tailed(5_000, seed=5, outlier=9_000.0)
    one, other = (integer_distortion(histogram(calm), histogram(evaluation), "optimal") for evaluation in (calm, wild))
    assert one.threshold == other.threshold
    assert one.sqnr_db > other.sqnr_db


@pytest.mark.parametrize(("values", "threshold"), [([0.0, 0.0], 0.0), ([5.0, -5.0, 5.0], 5.0), ([SMALLEST], SMALLEST)])
def test_the_optimal_clip_of_a_tensor_that_needs_none(values: list[float], threshold: float) -> None:
    error = integer_distortion(histogram(values), histogram(values), "optimal")
    assert error.threshold == pytest.approx(threshold, rel=0.01)
    assert error.sqnr_db == math.inf or error.sqnr_db > 40


@pytest.mark.parametrize("bits", [1, 0, 17, 64])
def test_widths_that_are_no_low_bit_integers_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=f"integers have 2 to 16 bits here, not {bits}"):
        integer_distortion(histogram([1.0]), histogram([1.0]), "max_abs", bits)
