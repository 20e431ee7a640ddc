"""Figures of a site under a scheme: exact from histograms where one scale holds, of sampled tokens elsewhere."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.formats import cast_distortion, fp8_distortion, integer_distortion
from pytest_maxact.numbers.sums import SchemeSums
from pytest_maxact.record.metrics.scheme import scheme_distortion
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.summary import summary
from tests.support import records

NAME = "layers.0.qkv_in"
SUMS = SchemeSums(
    tokens=4,
    entries=16,
    nonzero=10,
    clipped=2,
    flushed=5,
    signal=100.0,
    error=4.0,
    signal_abs=50.0,
    error_abs=5.0,
    signal_squares=2600.0,
    error_squares=6.0,
    products=110.0,
    calm_tokens=3,
    calm_signal=10.0,
    calm_error=0.1,
    token_db=((1300, 1), (1400, 2), (1500, 1)),
    levels=(0, 3, 7),
)
CALIBRATION, EVALUATION = [1.0, -4.0, 2.0], np.linspace(-8, 8, 40)


def site(
    *schemes: str, parts: tuple[str, ...] = ("a",), sums: SchemeSums = SUMS, dtype: str = "bfloat16"
) -> SiteReading:
    reading = records.reading(CALIBRATION, EVALUATION, NAME)
    channels = Channels({part: np.array([4.0], np.float32) for part in parts}) if parts else None
    return replace(records.holding(reading, schemes=dict.fromkeys(schemes, sums), channels=channels), dtype=dtype)


def test_a_scheme_with_scales_of_its_own_is_told_from_the_sampled_tokens() -> None:
    found = scheme_distortion(site("W8A8"), "W8A8")
    assert found.sqnr_db == pytest.approx(10 * math.log10(25))
    assert found.sqnr_error_db == SUMS.sqnr_error_db(10) > 0, "40 entries in rows of 4"
    assert found.rel_rmse == 0.2
    assert found.rel_mae == 0.1
    assert found.clip_rate == 2 / 16
    assert found.flush_to_zero == 0.5
    assert found.levels_used == 3
    assert (found.token_median_db, found.token_low_db) == (SUMS.token_quantile_db(0.5), SUMS.token_quantile_db(0.01))
    assert (found.token_median_db, found.token_low_db) == pytest.approx((10.0, 5.0))
    assert found.calm_sqnr_db == pytest.approx(20.0)
    assert found.tokens == 4


def test_sums_of_nothing_but_zeros_have_shares_of_zero() -> None:
    nothing = SchemeSums(tokens=4, entries=16, token_db=((5201, 4),))
    found = scheme_distortion(site("W8A8", sums=nothing), "W8A8")
    assert (found.sqnr_db, found.rel_rmse, found.rel_mae, found.clip_rate, found.flush_to_zero) == (
        math.inf,
        0,
        0,
        0,
        0,
    )


@pytest.mark.parametrize(
    ("signal", "error", "expected"),
    [(4.0, 0.0, 0.0), (0.0, 1.0, math.nan), (4.0, math.nan, math.nan), (0.0, math.nan, math.nan), (4.0, 1.0, 0.5)],
)
def test_a_relative_error_without_a_signal_is_no_number(signal: float, error: float, expected: float) -> None:
    sums = replace(SUMS, signal=signal, error=error)
    assert scheme_distortion(site("W8A8", sums=sums), "W8A8").rel_rmse == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("scheme", "dtype"),
    [("W8A8_STATIC", "bfloat16"), ("FP8", "bfloat16"), ("FP8", "float32"), ("FP8", "float64"), ("FP8", "float16")],
)
def test_one_static_scale_is_told_exactly_over_all_tokens(scheme: str, dtype: str) -> None:
    reading = site(scheme, dtype=dtype)
    seen, judged = reading.calibration, reading.evaluation
    exact = (
        integer_distortion(seen, judged, "max_abs", 8)
        if scheme == "W8A8_STATIC"
        else fp8_distortion(seen, judged, "float32" if dtype == "float64" else dtype)
    )
    found = scheme_distortion(reading, scheme)
    for quantity in ("sqnr_db", "rel_rmse", "rel_mae", "clip_rate", "flush_to_zero", "levels_used"):
        assert getattr(found, quantity) == getattr(exact, quantity), quantity
    assert found.sqnr_error_db == 0.0
    assert (found.tokens, found.token_median_db) == (4, SUMS.token_quantile_db(0.5)), "single tokens are sampled"


@pytest.mark.parametrize("scheme", ["W8A8_STATIC", "FP8"])
def test_one_static_scale_holds_for_text_as_it_is_deployed_too(scheme: str) -> None:
    reading = site(scheme)
    plain = scheme_distortion(reading, scheme)
    for deployed, same in ((2.0, True), (4.0, True), (64.0, False), (math.inf, True)):
        found = scheme_distortion(replace(reading, as_deployed=deployed), scheme)
        assert (found == plain) is same, deployed
    wide = replace(records.holding(reading, calibration=records.histogram([64.0])))
    assert scheme_distortion(replace(reading, as_deployed=64.0), scheme) == scheme_distortion(wide, scheme)


@pytest.mark.parametrize("parts", [(), ("a", "b")], ids=["no channels", "two tensors"])
@pytest.mark.parametrize("scheme", ["W8A8_STATIC", "FP8"])
def test_scales_of_several_tensors_are_told_from_the_sampled_tokens(scheme: str, parts: tuple[str, ...]) -> None:
    assert scheme_distortion(site(scheme, parts=parts), scheme).sqnr_db == SUMS.sqnr_db


@pytest.mark.parametrize(("scheme", "target"), [("FP16", "float16"), ("BF16", "bfloat16")])
def test_a_cast_is_told_of_both_splits_and_of_no_single_tokens(scheme: str, target: str) -> None:
    reading = records.reading([70_000.0], [1.0, 2.0**-26], NAME)
    exact, found = cast_distortion(reading.histogram, target), scheme_distortion(reading, scheme)
    assert (found.sqnr_db, found.clip_rate, found.tokens) == (exact.sqnr_db, exact.clip_rate, 0)
    assert found.flush_to_zero == exact.flush_to_zero == (1 / 3 if scheme == "FP16" else 0.0)
    assert all(math.isnan(value) for value in (found.token_median_db, found.token_low_db, found.calm_sqnr_db))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_cast_of_what_the_histogram_rounds_is_refused(dtype: str) -> None:
    with pytest.raises(MeasureError) as refused:
        scheme_distortion(site(dtype=dtype), "FP16")
    assert str(refused.value) == (
        f"{NAME}: its histogram is rounded to bfloat16, so the error of a cast to FP16 cannot be told from it\n"
        "  judge FP16.headroom, and its effect on predictions"
    )


@pytest.mark.parametrize(
    "reading", [site(), site("FP8"), site("W8A8", sums=SchemeSums())], ids=["none", "other", "empty"]
)
def test_a_scheme_of_which_nothing_is_held_is_refused(reading: SiteReading) -> None:
    with pytest.raises(MeasureError) as refused:
        scheme_distortion(reading, "W8A8")
    assert str(refused.value) == (
        f"{NAME}: the Record holds nothing of scheme W8A8 there\n"
        "  measure again with `schemes` W8A8, on two samples or more; its groups must divide the width"
    )


def test_a_summary_tells_what_it_kept_and_refuses_the_rest() -> None:
    full = replace(records.record({NAME: [[1.0, 4.0]], "layers.0.hidden": [[2.0, 1.0]]}), effects={})
    full = replace(full, sites={**full.sites, NAME: site("W8A8")})
    kept = summary(full)[NAME]
    assert scheme_distortion(kept, "W8A8") == scheme_distortion(site("W8A8"), "W8A8")
    with pytest.raises(MeasureError, match=f"{NAME}: the Record holds nothing of scheme NVFP4 there"):
        scheme_distortion(kept, "NVFP4")
    with pytest.raises(InputError, match=f"does not hold the error of FP16 at {NAME}"):
        scheme_distortion(kept, "FP16")
