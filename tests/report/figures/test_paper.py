"""The paper's fifteen figures, redrawn from its published figures with the model itself in them."""

from collections.abc import Iterator
from typing import Any

import pytest

from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.paper.every import paper_figures
from tests.support.drawing import marks_of, scene_of, usual

MODEL = "somebody/model"


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return {one.name: one for one in paper_figures(usual())}


def values(data: Any) -> Iterator[str]:
    for rows in data.values():
        for row in rows:
            yield from (str(value) for value in row.values())


def test_there_are_fifteen_in_the_papers_order_and_the_model_is_in_each(figures: dict[str, Figure]) -> None:
    assert [int(name.split("-")[1]) for name in figures] == list(range(1, 16))
    without = [
        one.name
        for one in figures.values()
        if not any(MODEL in value or value == "this model" for value in values(one.spec["datasets"]))
    ]
    assert without == ["paper-10-tuning"]
    assert "W8A8 to this model" in set(values(figures["paper-10-tuning"].spec["datasets"]))


@pytest.mark.parametrize("place", range(15))
def test_each_is_drawn(place: int, figures: dict[str, Figure]) -> None:
    figure = list(figures.values())[place]
    assert marks_of(scene_of(figure.spec)) > 3
    assert figure.caption


def test_what_the_paper_states_of_pairs_is_what_is_drawn(figures: dict[str, Figure]) -> None:
    assert "23.4 x" in figures["paper-08-experts"].alternative
    assert "14 x" in figures["paper-08-experts"].alternative
    stages = [row["value"] for row in figures["paper-11-stages"].rows]
    assert stages == [7648, 9024, 10112, 11776]
