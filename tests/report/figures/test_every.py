"""All figures: each has marks, says its numbers, fits a page, and shows hostile names as text."""

import json
import math
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pytest_maxact.judge.figures.drawn import drawn_of
from pytest_maxact.numbers.sites import ATTENTION_KINDS, LAYER_KINDS, LINEAR_KINDS
from pytest_maxact.report.figures.against import against
from pytest_maxact.report.figures.artifact import lint, source
from pytest_maxact.report.figures.every import figures_of, left_out
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.paper.every import paper_figures
from pytest_maxact.report.figures.scale import scale
from pytest_maxact.report.figures.series import series
from pytest_maxact.report.figures.weights import weights
from tests.support import records
from tests.support.drawing import everything, marks_of, model_of, scene_of, usual
from tests.support.hostile import NAMES

NAMED = {
    "heat", "trajectory", "scale", "distribution", "low_bits", "massive", "weights", "series", "series_layers",
    "series_channels", "series_low_bits", "baseline", "lint",
    "source", "predictions", "saturation", "intervals", "stress", "stress_sites",
}  # fmt: skip


def expressions(value: Any, of: str = "") -> Iterator[str]:
    """Everything in a spec that Vega runs or takes for a field, and nothing of its data."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key != "datasets":
                yield from expressions(one, key)
    elif isinstance(value, list):
        for one in value:
            yield from expressions(one, of)
    elif isinstance(value, str) and of in ("filter", "calculate", "test", "labelExpr", "expr", "field", "as", "name"):
        yield value


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return {one.name: one for one in figures_of(usual())}


def test_every_question_has_a_figure_or_a_reason(figures: dict[str, Figure]) -> None:
    assert figures.keys() >= NAMED
    reasons = {one.name: one.reason for one in left_out(usual())}
    assert not figures.keys() & reasons.keys()
    assert reasons["experts"] == "the model has no routed experts"
    bare = {one.name: one.reason for one in left_out(drawn_of(records.record(records.CALM)))}
    assert bare["series"] == "it is one checkpoint, and no series of them"
    assert all(bare.values())


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_figure_has_marks_and_says_what_it_shows(name: str, figures: dict[str, Figure]) -> None:
    figure = figures[name]
    assert marks_of(scene_of(figure.spec)) >= min(len(figure.rows), 2)
    assert any(character.isdigit() for character in figure.alternative)
    assert figure.title.endswith("?")
    assert figure.rows


def test_specs_are_as_wide_as_what_holds_them_and_name_no_theme(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        assert figure.spec["width"] == "container"
        assert not {"config", "background"} & figure.spec.keys()
        assert "url" not in json.dumps({**figure.spec, "datasets": {}, "$schema": ""})
        json.dumps(figure.rows, allow_nan=False)


@pytest.mark.parametrize("hostile", ["quotes", "closing", "surrogate"])
def test_a_hostile_name_is_data_and_never_an_expression(hostile: str, figures: dict[str, Figure]) -> None:
    name = NAMES[hostile]
    drawn = everything(model_of(model=name, model_type=name), name)
    for draw in (scale, series, weights, source, lint, against):
        found = draw(drawn)
        (figure,) = found if isinstance(found, list) else [found]
        assert isinstance(figure, Figure)
        assert sorted(expressions(figure.spec)) == sorted(expressions(figures[figure.name].spec))
        json.dumps(figure.spec, ensure_ascii=False).encode()  # which half a surrogate pair is not
        assert not [one for one in figure.title + figure.alternative if not one.isprintable()]
        assert draw not in (scale, series) or marks_of(scene_of(figure.spec))


@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_a_model_of_nothing_but_nan_or_zeros_is_drawn_as_such(value: float) -> None:
    drawn = drawn_of(records.record({name: [[value] * 4] for name in records.CALM}))
    figures = {one.name: one for one in (*figures_of(drawn), *paper_figures(drawn))}
    assert "massive" not in figures
    json.dumps([one.spec for one in figures.values()], allow_nan=False)
    for name in ("heat", "trajectory", "scale", "paper-03-depth"):
        assert marks_of(scene_of(figures[name].spec), ("rect", "symbol"))
    assert ("NaN or infinite" in figures["scale"].alternative) == math.isnan(value)


def test_a_name_of_ten_thousand_letters_takes_no_room() -> None:
    drawn = everything(model_of(model=NAMES["long"]), NAMES["long"])
    assert max(len(one.alternative) for one in figures_of(drawn)) < 2000
    assert "x" * 200 not in json.dumps([one.spec for one in figures_of(drawn)])


def test_ninety_six_layers_of_experts_fit_a_page_and_are_drawn_in_time() -> None:
    record = model_of(96, 256, (*LAYER_KINDS, *LINEAR_KINDS, *ATTENTION_KINDS[1:]), model_type="qwen3_moe")
    began = time.process_time()
    drawn = drawn_of(record)
    figures = {one.name: one for one in figures_of(drawn)}
    assert time.process_time() - began < 5
    assert sum(len(json.dumps(one.spec)) for one in figures.values()) < 1_500_000
    assert len(figures["heat"].rows) == len(record.sites) == 96 * 12 + 2
    assert len(figures["experts"].rows) == 96
