"""Growth over training steps: the slope of least squares, what it crosses and when, and no growth where none can be
told.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.series.trend import Stage, can_be_continued, crossings, milestones, slope, trends
from pytest_maxact.numbers.formats import integer_distortion
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.record.metrics.metric import Metric
from tests.support import records

HIDDEN = "layers.0.hidden"
patient = settings(deadline=None)
BROKEN = [math.nan, math.inf, -math.inf]


def limit(bound: float, site: str = HIDDEN, metric: str = "max_abs") -> Limit:
    return Limit(
        site=site,
        metric=Metric.parse(metric),
        bound=bound,
        sense="max",
        rule="a rule",
        source="",
        file="limits.yaml",
        line=7,
    )


def stage(step: int | None, maximum: float, name: str = "", **others: float) -> Stage:
    values = {"embedding": 0.5, HIDDEN: maximum} | {key.replace("__", "."): value for key, value in others.items()}
    record = records.record({site: [[value, 0.25]] for site, value in values.items()})
    return Stage(name=name or f"step-{step}", step=step, record=record)


def series(*points: tuple[int | None, float]) -> list[Stage]:
    return [stage(step, maximum) for step, maximum in points]


# The slope


@patient
@given(st.lists(st.tuples(st.integers(0, 1000), st.floats(-1e6, 1e6)), max_size=12))
def test_the_slope_is_that_of_least_squares(points: list[tuple[int, float]]) -> None:
    steps, values = np.array([step for step, _ in points], float), np.array([value for _, value in points])
    if len(set(steps)) > 1:
        fitted = np.linalg.lstsq(np.stack([steps, np.ones_like(steps)], 1), values, rcond=None)[0][0]
        assert slope(points) == pytest.approx(float(fitted), rel=1e-6, abs=1e-6)
    else:
        assert math.isnan(slope(points))


@patient
@given(
    st.lists(st.integers(0, 10**6), min_size=2, max_size=8, unique=True),
    st.integers(-1000, 1000),
    st.integers(-1000, 1000),
)
def test_points_on_a_line_have_its_slope(steps: list[int], rise: int, start: int) -> None:
    assert slope([(step, float(start + rise * step)) for step in steps]) == pytest.approx(rise)


def test_a_rise_that_levels_off_is_growth_all_the_same() -> None:
    """As of the trained run: up at once, then slowly down again, and more at the end than at the beginning."""
    assert slope([(900, 354.0), (1800, 584.0), (2700, 560.0), (3600, 540.0), (4500, 486.0)]) == pytest.approx(
        0.02444, rel=1e-3
    )


@pytest.mark.parametrize("bad", BROKEN)
def test_values_that_are_not_finite_and_unknown_steps_are_left_out(bad: float) -> None:
    assert slope([(0, 1.0), (1, bad), (2, 5.0), (None, 99.0)]) == 2.0
    assert math.isnan(slope([(0, 1.0), (1, bad)]))


@pytest.mark.parametrize(
    "points", [[], [(5, 1.0)], [(5, 1.0), (5, 9.0)], [(None, 1.0), (None, 2.0)], [(None, 1.0), (2, 2.0)]]
)
def test_fewer_than_two_known_steps_have_no_slope(points: list[tuple[int | None, float]]) -> None:
    assert math.isnan(slope(points))


# Trends


def test_a_trend_is_the_largest_over_layers_at_every_checkpoint() -> None:
    stages = [
        stage(0, 2.0, layers__1__hidden=8.0),
        stage(500, 16.0, layers__1__hidden=4.0),
        stage(1000, 1.0, layers__1__hidden=12.0),
    ]
    found = {trend.kind: trend for trend in trends(stages)}
    assert list(found) == ["embedding", "hidden"]
    assert found["hidden"].values == (8.0, 16.0, 12.0)
    assert found["hidden"].growth == pytest.approx(1000 * float(np.polyfit([0, 500, 1000], [8.0, 16.0, 12.0], 1)[0]))
    assert found["hidden"].relative_growth == pytest.approx(found["hidden"].growth / 8.0)
    assert (found["embedding"].growth, found["embedding"].relative_growth) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("last", "unit"),
    [(1, 1), (9, 1), (10, 10), (20, 10), (99, 10), (100, 100), (999, 100), (1000, 1000), (10**6, 1000)],
)
def test_growth_is_told_per_no_more_steps_than_were_seen(last: int, unit: int) -> None:
    found = trends([stage(5, 8.0), stage(5 + last, 4.0)])
    assert {trend.unit for trend in found} == {unit}
    (hidden,) = (trend for trend in found if trend.kind == "hidden")
    assert hidden.growth == pytest.approx(-4.0 * unit / last)
    assert hidden.relative_growth >= -0.5, "no more than what was seen to happen"


def test_a_kind_that_one_checkpoint_lacks_has_no_trend() -> None:
    stages = [stage(0, 1.0, final_norm=1.0), stage(1, 1.0)]
    assert [trend.kind for trend in trends(stages)] == ["embedding", "hidden"]


@pytest.mark.parametrize("bad", BROKEN)
def test_a_broken_checkpoint_shows_as_infinite_in_its_trend(bad: float) -> None:
    hidden = next(trend for trend in trends(series((0, bad), (1, 2.0), (2, 3.0))) if trend.kind == "hidden")
    assert hidden.values == (math.inf, 2.0, 3.0)
    assert (hidden.growth, hidden.unit) == (1.0, 1), "the two that are finite span one step"
    assert math.isnan(hidden.relative_growth)


def test_growth_from_nothing_has_no_share() -> None:
    hidden = next(trend for trend in trends([stage(0, 0.0), stage(1, 1.0)]) if trend.kind == "hidden")
    assert hidden.values[0] == 0.25
    zero = replace(hidden, values=(0.0, 1.0))
    assert math.isnan(zero.relative_growth)


# Crossings


def test_growth_that_goes_on_crosses_at_the_exact_step() -> None:
    (found,) = crossings(series((0, 2.0), (100, 4.0), (200, 6.0)), [limit(10.0)], 1000)
    assert (found.step, found.value, found.limit.site) == (400.0, 6.0, HIDDEN)
    assert (found.growth, found.unit, found.span) == (pytest.approx(2.0), 100, 200)


@pytest.mark.parametrize(("horizon", "warned"), [(399, False), (400, False), (401, True)])
def test_only_what_crosses_before_the_horizon_is_warned_of(horizon: int, warned: bool) -> None:
    assert bool(crossings(series((0, 2.0), (200, 6.0)), [limit(10.0)], horizon)) == warned


@patient
@given(st.integers(1, 1000), st.floats(1.0, 100.0), st.floats(0.0, 1000.0))
def test_at_the_step_of_a_crossing_the_line_meets_the_limit(step: int, rise: float, room: float) -> None:
    before, after = records.bf16([1.0, 1.0 + rise])
    stages = series((0, float(before)), (step, float(after)))
    for found in crossings(stages, [limit(float(after) + room)], 10**12):
        assert found.step >= step
        assert after + (after - before) / step * (found.step - step) == pytest.approx(after + room)


@pytest.mark.parametrize(
    "points",
    [
        [(0, 2.0), (100, 12.0)],
        [(0, 6.0), (100, 4.0)],
        [(0, 6.0), (100, 6.0)],
        [(100, 4.0)],
        [(None, 2.0), (None, 4.0)],
        [(0, 2.0), (100, 4.0), (None, 6.0)],
        [(0, 2.0), (100, math.inf)],
        [(0, math.nan), (100, 4.0)],
    ],
    ids=["crossed", "shrinking", "level", "alone", "steps unknown", "last unknown", "broken last", "broken first"],
)
def test_nothing_crosses_that_has_or_does_not_grow_or_cannot_be_told(points: list[tuple[int | None, float]]) -> None:
    assert crossings(series(*points), [limit(10.0)], 10**9) == []


def test_a_value_at_its_limit_crosses_now() -> None:
    (found,) = crossings(series((0, 2.0), (100, 4.0)), [limit(4.0)], 10**9)
    assert found.step == 100.0


def test_only_maxima_of_known_sites_are_continued_and_the_soonest_comes_first() -> None:
    stages = [stage(0, 2.0, final_norm=2.0), stage(100, 4.0, final_norm=8.0)]
    limits = [
        limit(8.0),
        limit(0.5, metric="rms"),
        limit(9.0, "layers.9.hidden"),
        limit(9.0, "final_norm"),
        limit(9.0, "carrier"),
    ]
    assert [(found.limit.site, found.step) for found in crossings(stages, limits, 10**9)] == [
        ("final_norm", pytest.approx(100 + 100 / 6)), (HIDDEN, 300.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "can"),
    [
        ((0, 100), True),
        ((None, 0, 100), True),
        ((0, 100, None), False),
        ((100,), False),
        ((None, 100), False),
        ((5, 5), False),
    ],
)
def test_a_series_is_continued_from_a_last_step_that_is_known(steps: Sequence[int | None], can: bool) -> None:
    assert can_be_continued(series(*((step, 1.0) for step in steps))) == can


# Milestones


def test_milestones_tell_every_checkpoint_against_the_one_before_and_the_first() -> None:
    rows = milestones([stage(1, 2.0), stage(2, 8.0, name="b"), stage(None, 4.0, name="final")])
    assert [(row.name, row.step, row.m, row.site) for row in rows] == [
        ("step-1", 1, 2.0, HIDDEN), ("b", 2, 8.0, HIDDEN), ("final", None, 4.0, HIDDEN),
    ]  # fmt: skip
    assert math.isnan(rows[0].to_previous)
    assert math.isnan(rows[0].to_first)
    assert [(row.to_previous, row.to_first) for row in rows[1:]] == [(4.0, 4.0), (0.5, 2.0)]
    assert [row.jump for row in rows] == [None, 0, None]


def test_a_milestone_counts_massive_layers_and_reads_the_carriers_quality() -> None:
    plain = stage(1, 512.0)
    massive = replace(plain.record[HIDDEN], massive=Massive(tokens=3, entries=3))
    (row,) = milestones([replace(plain, record=replace(plain.record, sites={**plain.record.sites, HIDDEN: massive}))])
    assert row.massive_layers == 1
    reading = plain.record[HIDDEN]
    assert row.int8_sqnr_db == integer_distortion(reading.calibration, reading.evaluation, "max_abs").sqnr_db


@pytest.mark.parametrize(
    ("before", "after", "factor"), [(0.0, 5.0, math.inf), (0.0, 0.0, 1.0), (5.0, 0.0, 0.0), (5.0, 5.0, 1.0)]
)
def test_a_factor_from_zeros_is_none_that_could_be_small(before: float, after: float, factor: float) -> None:
    dead = {"embedding": [[0.0]]}
    rows = milestones(
        [
            Stage(name=name, step=None, record=records.record({**dead, HIDDEN: [[value]]}))
            for name, value in (("a", before), ("b", after))
        ]
    )
    assert (rows[1].to_previous, rows[1].to_first) == (factor, factor)


@pytest.mark.parametrize("bad", BROKEN)
def test_a_broken_checkpoint_has_no_factor_to_anything(bad: float) -> None:
    rows = milestones(series((1, 2.0), (2, bad), (3, 4.0)))
    assert rows[1].m == math.inf
    assert math.isnan(rows[1].to_previous)
    assert math.isnan(rows[1].to_first)
    assert math.isnan(rows[1].int8_sqnr_db)
    assert math.isnan(rows[2].to_previous)
    assert rows[2].to_first == 2.0
