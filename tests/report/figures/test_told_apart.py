"""What figures tell apart is told by more than colour, and what their axes say is where their lines stand."""

from dataclasses import replace
from typing import Any

import pytest

from pytest_maxact.judge.figures.drawn import drawn_of
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.numbers.sites import ATTENTION_KINDS, LAYER_KINDS, LINEAR_KINDS
from pytest_maxact.report.figures.artifact import lint, predictions
from pytest_maxact.report.figures.build import apart
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.heat import heat
from pytest_maxact.report.figures.massive import massive
from pytest_maxact.report.figures.series import series
from pytest_maxact.report.figures.trust import intervals, stress_sites
from tests.support.drawing import everything, items_of, model_of, scene_of, usual
from tests.support.findings import limit

KINDS = [kind for kind in (*LAYER_KINDS, *LINEAR_KINDS, *ATTENTION_KINDS[1:]) if kind != "router"]


def drawn(figure: Figure | LeftOut) -> Figure:
    assert isinstance(figure, Figure)
    return figure


def labels(figure: Figure) -> list[str]:
    return [one["text"] for one in items_of(scene_of(figure.spec), "axis-label") if one["text"]]


def test_an_axis_of_counts_names_no_line_between_two_of_them() -> None:
    said = labels(drawn(lint(usual())))
    assert [one for one in said if one.isdigit()] == ["0", "1"]


def test_a_figure_alone_on_its_axis_is_named_as_it_is() -> None:
    (figure, *_) = [one for one in usual().trust.figures if one.name.endswith("mean_kl")]
    assert figure.value == 0.025
    assert "0.025" in labels(drawn(intervals(usual())))


def test_predictions_show_what_had_tokens_and_all_of_its_interval() -> None:
    figure = drawn(predictions(usual()))
    assert {row["confidence"] for row in figure.rows} == {"0% to 25%"}
    (rule,) = items_of(scene_of(figure.spec), "mark", "rule")
    assert min(rule["y"], rule["y2"]) > 0
    assert max(rule["y"], rule["y2"]) < figure.spec["height"]


@pytest.mark.parametrize("draw", [series, stress_sites])
def test_kinds_of_sites_differ_by_more_than_their_colour(draw: Any) -> None:
    figure = drawn(draw(everything(model_of(2, kinds=tuple(KINDS)))))
    seen = {(one["stroke"] if one.get("fill") in (None, "transparent") else one["fill"], one["shape"])
            for one in items_of(scene_of(figure.spec), "legend-symbol")}  # fmt: skip
    assert len(seen) == len(KINDS) + 2, "of the embedding and the final norm too"
    assert len({shape for _, shape in seen}) > 6


def test_no_legend_is_wider_than_a_printed_figure() -> None:
    names = [f"{'x' * 18}{place}" for place in range(24)]
    assert 2 <= columns(names) <= 5
    assert columns(["x" * 300]) == 1


def columns(names: list[str]) -> int:
    return int(apart("kind", names)["color"].to_dict()["legend"]["columns"])


def test_layers_that_meet_the_criterion_have_a_form_of_their_own() -> None:
    marks = items_of(scene_of(drawn(massive(usual())).spec), "mark", "symbol")
    forms = {(one["datum"]["role"] if "datum" in one else one["shape"], one["shape"]) for one in marks}
    assert len({form for _, form in forms}) == 2


def test_a_breach_is_outlined_in_two_colours_of_which_one_is_seen_on_every_cell() -> None:
    record = model_of()
    hidden = "layers.2.hidden"
    spec = heat(drawn_of(record, None, [check(record, limit(1.0, hidden))])).spec
    lines = [one for one in items_of(scene_of(spec), "mark", "rect") if one.get("fillOpacity") == 0]
    assert [one["strokeWidth"] for one in lines] == [4.5, 2]
    assert len({one.get("stroke") for one in lines}) == 2


def test_a_remark_is_told_from_a_finding_in_words() -> None:
    found = usual()
    (one,) = found.artifact.lint or ()
    remark = replace(found, artifact=replace(found.artifact, lint=(one, replace(one, code="other", remark=True))))
    texts = [one["text"] for one in items_of(scene_of(drawn(lint(remark)).spec), "mark", "text")]
    assert texts == ["1", "1, a remark"]
