"""Layers that no data reaches are left out of a spec, and no other layer is."""

from typing import Any

import altair as alt
import pytest

from pytest_maxact.report.figures.build import chart_of, made, zoom_along

ROWS = [{"x": 1, "kind": "M", "broken": False, "limit": None, "nan": float("nan")}, {"x": 2, "kind": "N"}]


def layers(*others: Any, rows: list[dict[str, Any]] = ROWS, **data: Any) -> int:
    """How many are left besides one that is always there."""
    base = chart_of("always").mark_rule().encode(y="x:Q")
    chart = alt.layer(base, *others).to_dict()
    figure = made("a", "b", "c", "d", alt.layer(base, *others), 100, rows, always=[{"x": 1}], **data)
    assert len(chart["layer"]) == len(others) + 1
    return len(figure.spec["layer"]) - 1


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("datum.broken", False), ("!datum.broken", True), ("datum.x", True), ("!datum.x", False),
        ("isValid(datum.limit)", False), ("isValid(datum.nan)", False), ("isValid(datum.x)", True),
        ("datum.kind === 'M'", True), ("datum.kind === 'O'", False), ("datum.kind !== 'M'", True),
        ("datum.none !== 'M'", True), ("datum.x > 5", True), ("datum.broken && datum.x", False),
        ("isValid(datum.x) && datum.x", True), ("datum.broken && datum.x > 5", True),
        ("datum.broken || datum.x", True),
    ],
)  # fmt: skip
def test_a_layer_goes_where_its_filter_leaves_nothing(condition: str, kept: bool) -> None:
    points = chart_of().transform_filter(condition).mark_point().encode(x="x:Q")
    assert layers(points) == kept


def test_a_layer_of_empty_data_goes_and_one_of_unknown_data_stays() -> None:
    assert layers(chart_of("others").mark_point().encode(x="x:Q"), others=[]) == 0
    assert layers(chart_of("others").mark_point().encode(x="x:Q")) == 1


def test_filters_are_taken_together_and_fields_made_on_the_way_are_not_judged() -> None:
    points = chart_of().transform_filter("datum.kind === 'M'").transform_filter("datum.kind === 'N'").mark_point()
    assert layers(points) == 0
    assert layers(chart_of().transform_calculate(new="1").transform_filter("datum.new").mark_point()) == 1
    assert layers(chart_of().transform_calculate(new="1").transform_filter("datum.broken").mark_point()) == 0
    assert layers(chart_of().transform_filter("datum.x > 0").transform_filter("datum.broken").mark_point()) == 0
    assert layers(chart_of().transform_filter("datum.x > 0").transform_fold(["x"]).mark_point()) == 1


def test_what_a_reader_moves_stays() -> None:
    assert layers(chart_of().transform_filter("datum.broken").mark_point().add_params(zoom_along("x"))) == 1


def test_a_chart_keeps_a_layer() -> None:
    whole = chart_of().mark_point()
    figure = made("a", "b", "c", "d", alt.layer(whole, whole.mark_line()), 100, ())
    assert len(figure.spec["layer"]) == 1
