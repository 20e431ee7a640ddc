"""Intervals: when one lies on both sides of a limit."""

import math

import pytest

from pytest_maxact.judge.trust.interval import Interval, IntervalKind


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
    assert Interval(kind=IntervalKind.AVERAGE, low=1.0, high=2.0, samples=40, meaning="").overlaps(bound, sense) is both


def test_an_interval_without_an_upper_end_reaches_over_any_limit() -> None:
    assert Interval(kind=IntervalKind.AVERAGE, low=1.0, high=math.inf, samples=40, meaning="").overlaps(1e30, "max")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (IntervalKind.AVERAGE, "1.5 to 2.25 (95 %)"),
        (IntervalKind.MAXIMUM, "1.5 or more on other text; measured again up to 2.25"),
        (IntervalKind.MINIMUM, "2.25 or less on other text; measured again down to 1.5"),
        (IntervalKind.REPEATED, "1.5 to 2.25 on this text"),
    ],
)
def test_only_that_of_an_average_is_called_one_of_95_percent(kind: IntervalKind, words: str) -> None:
    assert Interval(kind=kind, low=1.5, high=2.25, samples=40, meaning="").words == words


def test_an_end_that_is_infinite_is_told_in_words() -> None:
    above, below = (
        Interval(kind=kind, low=1.5, high=math.inf, samples=40, meaning="").words
        for kind in (IntervalKind.MAXIMUM, IntervalKind.MINIMUM)
    )
    assert above == "1.5 or more on other text"
    assert below == "no upper end on other text; measured again down to 1.5"
