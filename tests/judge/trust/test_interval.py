"""Intervals: when one lies on both sides of a limit."""

import math

import pytest

from pytest_maxact.judge.trust.interval import Interval


@pytest.mark.parametrize(
    ("bound", "sense", "both"),
    [
        (1.5, "max", True),
        (1.0, "max", True),
        (2.0, "max", False),
        (0.5, "max", False),
        (2.5, "max", False),
        (1.5, "min", True),
        (2.0, "min", True),
        (1.0, "min", False),
        (0.5, "min", False),
        (2.5, "min", False),
        (math.nan, "max", False),
    ],
)
def test_a_limit_is_overlapped_where_an_interval_has_figures_that_keep_it_and_figures_that_do_not(
    bound: float, sense: str, both: bool
) -> None:
    assert Interval(low=1.0, high=2.0, samples=40, meaning="").overlaps(bound, sense) is both


def test_an_interval_without_an_upper_end_reaches_over_any_limit() -> None:
    assert Interval(low=1.0, high=math.inf, samples=40, meaning="").overlaps(1e30, "max")
