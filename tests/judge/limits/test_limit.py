"""One limit: its names, and that no bound stands which nothing could break."""

import math
from dataclasses import replace

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.limit import LEAST_DECIBELS, specificity
from pytest_maxact.numbers.formats import BF16_MAX
from tests.support.findings import INT8, limit

LARGEST = math.nextafter(math.inf, 0)


@pytest.mark.parametrize(
    ("metric", "sense", "last"),
    [
        ("max_abs", "max", BF16_MAX),
        ("rms", "max", BF16_MAX),
        ("quantile.0.5", "max", BF16_MAX),
        ("growth", "max", LARGEST),
        ("W8A8.mean_kl", "max", LARGEST),
        (INT8, "min", LEAST_DECIBELS),
        ("W8A8.sqnr_db", "min", LEAST_DECIBELS),
        ("max_abs", "min", -LARGEST),
        ("margin", "min", -LARGEST),
    ],
)
def test_the_last_bound_that_a_number_breaks_stands_and_the_next_does_not(metric: str, sense: str, last: float) -> None:
    assert limit(last, metric=metric, sense=sense).bound == last
    beyond = math.nextafter(last, math.inf if sense == "max" else -math.inf)
    with pytest.raises(InputError, match="which no number breaks"):
        limit(beyond, metric=metric, sense=sense)


@pytest.mark.parametrize(
    ("figure", "headroom", "stated"),
    [(2.0, 8.0, " (2 with headroom 8)"), (2.0, None, ""), (None, 8.0, ""), (None, None, "")],
)
def test_a_bound_that_nothing_breaks_is_told_with_what_it_was_made_of(
    figure: float | None, headroom: float | None, stated: str
) -> None:
    with pytest.raises(InputError) as caught:
        limit(math.inf, figure=figure, headroom=headroom)
    assert str(caught.value) == (
        f"limits.yaml:7: layers.0.hidden::max_abs would be limited to inf{stated}, which no number breaks\n"
        "  lower the figure or its headroom"
    )


def test_a_check_is_called_by_its_site_its_metric_and_its_baseline() -> None:
    plain = limit(2.0, metric="growth")
    assert (plain.name, plain.check) == ("growth", "layers.0.hidden::growth")
    against = replace(plain, against="v1")
    assert (against.name, against.check) == ("growth[v1]", "layers.0.hidden::growth[v1]")


@pytest.mark.parametrize(
    ("pattern", "exact", "literals"),
    [
        ("layers.0.hidden", True, 15),
        ("layers.*.hidden", False, 14),
        ("layers.?.hidden", False, 14),
        ("layers.[0-9].hidden", False, 14),
        ("layers.[!1]*[0]?hidden", False, 13),
        ("*", False, 0),
    ],
)
def test_how_much_a_pattern_says_is_counted_in_literal_characters(pattern: str, exact: bool, literals: int) -> None:
    assert specificity(pattern, "layers.0.hidden") == (exact, literals)
