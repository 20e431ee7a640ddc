"""A ratio of magnitudes says what it can, and is no small number where there is nothing to compare."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.numbers.ratio import ratio

MAGNITUDES = st.floats(min_value=0.0, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [(2.0, 5.0, 2.5), (5.0, 0.0, 0.0), (0.0, 5.0, math.inf), (0.0, 5e-324, math.inf), (0.0, 0.0, 1.0), (3.0, 3.0, 1.0)],
)
def test_a_ratio_is_after_over_before(before: float, after: float, expected: float) -> None:
    assert ratio(before, after) == expected


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("other", [0.0, 1.0, math.nan, math.inf])
def test_what_is_not_finite_has_none(bad: float, other: float) -> None:
    assert math.isnan(ratio(bad, other))
    assert math.isnan(ratio(other, bad))


@given(MAGNITUDES, MAGNITUDES)
def test_of_numbers_it_is_at_most_one_only_where_nothing_grew(before: float, after: float) -> None:
    assert not math.isnan(ratio(before, after))
    assert (ratio(before, after) <= 1.0) or after > before
