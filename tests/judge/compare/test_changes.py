"""Growth, shrinking, shift and loss from one Record to another."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.compare.changes import drop, growth, record_change, shift, site_change
from pytest_maxact.record.metrics.metric import GROWTH, MASSIVE, SHIFT, SHRINK, TURN, Metric
from pytest_maxact.record.summary import summary
from tests.support import records
from tests.support.changes import BROKEN, entries, patient, positive, reading, residual
from tests.support.records import bf16

# Growth and shrinking


@pytest.mark.parametrize(
    ("before", "after", "floor", "factor"),
    [
        (2.0, 6.0, 0.0, 3.0),
        (6.0, 2.0, 0.0, 1 / 3),
        (0.0, 0.0, 0.0, 1.0),
        (0.0, 1e-30, 0.0, math.inf),
        (5.0, 0.0, 0.0, 0.0),
        (0.0, 0.75, 0.5, 1.5),
        (0.125, 0.25, 0.5, 1.0),
        (0.25, 4.0, 0.5, 8.0),
        (4.0, 0.25, 0.5, 0.125),
    ],
)
def test_growth_is_after_over_before_and_a_floor_lifts_small_magnitudes(
    before: float, after: float, floor: float, factor: float
) -> None:
    assert growth(before, after, floor) == pytest.approx(factor)


@patient
@given(positive, positive)
def test_there_and_back_again_is_one(before: float, after: float) -> None:
    assert growth(before, after, 0.0) * growth(after, before, 0.0) == pytest.approx(1.0)


@patient
@given(positive, positive, st.floats(0, 1e6))
def test_a_floor_never_makes_a_change_larger(before: float, after: float, floor: float) -> None:
    floored, plain = growth(before, after, floor), growth(before, after, 0.0)
    assert abs(math.log(floored)) <= abs(math.log(plain)) + 1e-12
    assert floored == pytest.approx(plain) or min(before, after) < floor


@pytest.mark.parametrize("bad", BROKEN)
@pytest.mark.parametrize("floor", [0.0, 1e30])
def test_nothing_grows_from_or_to_what_is_not_finite(bad: float, floor: float) -> None:
    assert math.isnan(growth(bad, 1.0, floor))
    assert math.isnan(growth(1.0, bad, floor))


# Shift


def brute_force(one: Sequence[float], other: Sequence[float]) -> float:
    """The distance of Kolmogorov and Smirnov, counted entry by entry."""
    places = [abs(value) for value in (*one, *other)]
    shares = [
        [sum(abs(value) <= place for value in values) / len(values) for place in places] for values in (one, other)
    ]
    return max(abs(a - b) for a, b in zip(*shares, strict=True))


@patient
@given(entries, entries)
def test_shift_is_the_largest_difference_of_shares(one: np.ndarray, other: np.ndarray) -> None:
    assert shift(reading(*one), reading(*other)) == pytest.approx(brute_force(list(one), list(other)))


@patient
@given(entries, entries)
def test_shift_is_symmetric_a_share_and_nothing_to_itself(one: np.ndarray, other: np.ndarray) -> None:
    there, back = shift(reading(*one), reading(*other)), shift(reading(*other), reading(*one))
    assert there == back
    assert 0.0 <= there <= 1.0
    assert shift(reading(*one), reading(*one)) == 0.0


def test_shift_does_not_hang_on_signs_on_order_or_on_how_many_entries_there_are() -> None:
    assert shift(reading(1.0, -2.0, 4.0), reading(4.0, 4.0, 2.0, -2.0, -1.0, 1.0)) == 0.0


def test_distributions_that_do_not_meet_are_all_apart() -> None:
    assert shift(reading(1.0, 2.0), reading(3.0, 4.0)) == 1.0


def test_twice_the_spread_of_a_normal_distribution_is_a_third() -> None:
    noise = np.random.default_rng(0).normal(size=20_000)
    assert shift(reading(*bf16(noise)), reading(*bf16(2 * noise))) == pytest.approx(0.33, abs=0.02)


def test_a_shift_spans_encodings() -> None:
    half = records.holding(
        reading(1.0, 2.0),
        calibration=records.histogram([1.0, 2.0], "float16"),
        evaluation=records.histogram([4.0], "float16"),
    )
    assert shift(half, reading(1.0, 2.0, 4.0)) == 0.0


@pytest.mark.parametrize("bad", BROKEN)
def test_what_is_not_finite_has_no_shift(bad: float) -> None:
    assert math.isnan(shift(reading(1.0, bad), reading(1.0)))
    assert math.isnan(shift(reading(1.0), reading(1.0, bad)))
    assert math.isnan(shift(reading(bad), reading(bad)))


def test_nothing_seen_has_no_shift() -> None:
    assert math.isnan(shift(reading(), reading(1.0)))
    assert math.isnan(shift(reading(1.0), reading()))


def test_the_shift_of_a_slim_record_is_refused_rather_than_small() -> None:
    record = residual(1.0, 2.0)
    with pytest.raises(InputError, match="the Record is slim and does not hold histograms"):
        shift(record["embedding"], summary(record)["embedding"])


# Loss


@pytest.mark.parametrize(
    ("before", "after", "floor", "lost"),
    [
        (40.0, 35.0, math.inf, 5.0),
        (35.0, 40.0, math.inf, 0.0),
        (40.0, 35.0, 30.0, 0.0),
        (40.0, 30.0, 30.0, 0.0),
        (40.0, 29.5, 30.0, 10.5),
        (28.0, 20.0, 30.0, 8.0),
        (math.inf, 25.0, 30.0, math.inf),
        (math.inf, math.inf, 30.0, 0.0),
        (math.inf, math.inf, math.inf, 0.0),
        (20.0, -math.inf, 30.0, math.inf),
    ],
)
def test_a_loss_counts_below_the_floor_only_and_then_in_full(
    before: float, after: float, floor: float, lost: float
) -> None:
    assert drop(before, after, floor) == lost


@pytest.mark.parametrize("pair", [(math.nan, 40.0), (40.0, math.nan), (math.nan, math.nan)])
@pytest.mark.parametrize("floor", [0.0, math.inf])
def test_no_loss_is_told_of_no_number(pair: tuple[float, float], floor: float) -> None:
    assert math.isnan(drop(*pair, floor))


# By name


def test_changes_by_name() -> None:
    before, after = reading(1.0, 4.0), reading(1.0, 16.0)
    assert site_change(before, after, GROWTH, None) == 4.0
    assert site_change(before, after, SHRINK, None) == 0.25
    assert site_change(after, before, SHRINK, None) == 4.0
    assert site_change(before, after, SHIFT, None) == 0.5
    assert site_change(before, after, GROWTH, 8.0) == 2.0


def test_the_drop_of_a_metric_is_its_loss() -> None:
    """One coarse entry more in the evaluation split takes quality away, in decibels that a direct computation gives
    too.
    """
    name = "int8.max_abs.sqnr_db"
    values = bf16(np.linspace(-1, 1, 50))
    coarse = np.append(values, 100.0)

    def sqnr(array: np.ndarray) -> float:
        scale = np.abs(array).max() / 127
        error = array - np.clip(np.rint(array / scale), -127, 127) * scale
        return float(10 * np.log10((array**2).sum() / (error**2).sum()))

    lost = site_change(reading(*values), reading(*np.append(values, 1.0)), Metric.parse(f"{name}.drop"), None)
    assert lost == pytest.approx(max(0.0, sqnr(values) - sqnr(np.append(values, 1.0))), abs=1e-6)
    half = records.reading(coarse, values)
    restored = np.rint(values / (100 / 127)) * (100 / 127)
    expected = sqnr(values) - 10 * np.log10((values**2).sum() / ((values - restored) ** 2).sum())
    assert site_change(reading(*values), half, Metric.parse(f"{name}.drop"), None) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["max_abs", "W8A8.mean_kl", MASSIVE.name])
def test_a_figure_that_is_no_change_of_a_site_is_refused(metric: str) -> None:
    with pytest.raises(InputError, match=f"no relative metric called '{metric}'"):
        site_change(reading(1.0), reading(1.0), Metric.parse(metric), None)


@pytest.mark.parametrize("metric", ["", "drop", "growths", "sqnr.drop"])
def test_an_unknown_change_is_refused(metric: str) -> None:
    with pytest.raises(InputError, match="no metric called"):
        site_change(reading(1.0), reading(1.0), Metric.parse(metric), None)


def test_an_unknown_change_of_the_whole_model_is_refused() -> None:
    with pytest.raises(InputError, match="no relative metric of the whole model called 'growth'"):
        record_change(residual(1.0, 1.0), residual(1.0, 1.0), GROWTH, None)


# Loss


@pytest.mark.parametrize(
    ("after", "floor", "lost"), [(6.0, None, 2.0), (6.0, 7.0, 2.0), (6.0, 6.0, 0.0), (6.0, 5.0, 0.0), (9.0, None, 0.0)]
)
def test_a_loss_counts_below_its_floor(after: float, floor: float | None, lost: float) -> None:
    assert site_change(reading(8.0), reading(after), Metric.parse("max_abs.drop"), floor) == lost


def test_without_a_probe_of_the_same_tokens_the_order_of_layers_cannot_be_told() -> None:
    with pytest.raises(MeasureError) as caught:
        site_change(reading(1.0), reading(1.0), TURN, None)
    assert str(caught.value) == (
        "layers.0.hidden: the Records hold no probe of the same tokens, so the order of layers cannot be told\n"
        "  measure both again"
    )


@pytest.mark.parametrize("metric", [GROWTH, SHRINK])
def test_without_a_floor_small_magnitudes_grow_and_shrink_as_large_ones(metric: Metric) -> None:
    small, twice = reading(0.25), reading(0.5)
    before, after = (small, twice) if metric == GROWTH else (twice, small)
    assert site_change(before, after, metric, None) == 2.0
    assert site_change(before, after, metric, 1.0) == 1.0
