"""The comparison, and which of two limits of a check is the looser one."""

import math

import pytest

from pytest_maxact.judge.verdict.bound import is_looser, within
from tests.support.findings import limit


@pytest.mark.parametrize(
    ("value", "bound", "sense", "holds"),
    [
        (1.0, 2.0, "max", True),
        (2.0, 2.0, "max", True),
        (3.0, 2.0, "max", False),
        (1.0, 2.0, "min", False),
        (2.0, 2.0, "min", True),
        (3.0, 2.0, "min", True),
        (math.nan, 2.0, "max", False),
        (math.nan, 2.0, "min", False),
    ],
)
def test_a_value_is_within_a_bound_where_that_is_true_of_numbers(
    value: float, bound: float, sense: str, holds: bool
) -> None:
    assert within(value, bound, sense) is holds


@pytest.mark.parametrize(
    ("bound", "sense", "looser"), [(9.0, "max", True), (7.0, "max", False), (7.0, "min", True), (9.0, "min", False)]
)
def test_a_limit_is_looser_than_another_where_it_lets_more_pass(bound: float, sense: str, looser: bool) -> None:
    assert is_looser(limit(bound, sense=sense), limit(8.0, sense=sense)) is looser
    assert not is_looser(limit(bound, sense=sense), limit(bound, sense=sense))
