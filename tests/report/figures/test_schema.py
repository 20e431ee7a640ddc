"""Every figure is what the schema of Vega-Lite allows: charts are drawn without altair looking."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import altair as alt
import jsonschema
import pytest

from pytest_maxact.judge.figures.drawn import Drawn, drawn_of
from pytest_maxact.numbers.sites import ATTENTION_KINDS, LAYER_KINDS, LINEAR_KINDS
from pytest_maxact.report.figures.every import figures_of
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.paper.every import paper_figures
from tests.support import records
from tests.support.drawing import everything, model_of, usual
from tests.support.hostile import NAMES

SUBJECTS: dict[str, Callable[[], Drawn]] = {
    "everything": usual,
    "experts": lambda: drawn_of(model_of(2, 8, (*LAYER_KINDS, *LINEAR_KINDS, *ATTENTION_KINDS[1:]))),
    "hostile": lambda: everything(model_of(model=NAMES["quotes"], model_type=NAMES["quotes"]), NAMES["quotes"]),
    "NaN": lambda: drawn_of(records.record({name: [[float("nan")] * 4] for name in records.CALM})),
    "zeros": lambda: drawn_of(records.record({name: [[0.0] * 4] for name in records.CALM})),
}


def hold(spec: Mapping[str, Any]) -> None:
    kind = alt.FacetChart if "facet" in spec else alt.LayerChart if "layer" in spec else alt.Chart
    kind.validate(json.loads(json.dumps(spec)))


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("draw", [figures_of, paper_figures])
def test_every_figure_keeps_to_the_schema(subject: str, draw: Callable[[Drawn], tuple[Figure, ...]]) -> None:
    figures = draw(SUBJECTS[subject]())
    assert figures
    for figure in figures:
        hold(figure.spec)


def test_a_part_of_a_figure_that_is_misspelt_is_found() -> None:
    for figure in figures_of(usual()):
        with pytest.raises(jsonschema.ValidationError):
            hold({**figure.spec, "heigth": 1})
