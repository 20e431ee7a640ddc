"""The paper's fifteen figures, redrawn from its published figures with the model itself in them."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from pytest_maxact.judge.figures.published import published_checkpoints
from pytest_maxact.report.figures.every import figures_of
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.paper.every import paper_figures
from pytest_maxact.report.figures.printed import printed
from tests.support.drawing import items_of, marks_of, scene_of, usual

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


TEXT_WIDTH, LEAST = 468.0, 6.0
"""In points: a figure across the text of a page of six and a half inches, and letters that are read without a glass."""


def test_every_letter_is_read_where_a_figure_is_as_wide_as_the_text(figures: dict[str, Figure]) -> None:
    small = {}
    for figure in (*figures.values(), *figures_of(usual())):
        (_, content), *_ = printed(figure, "svg")
        svg = content.decode()
        width = float(re.search(r'<svg[^>]* width="([\d.]+)"', svg)[1])  # type: ignore[index]
        letters = [float(one) for one in re.findall(r'font-size="([\d.]+)px"', svg)]
        if not min(letters) / width * TEXT_WIDTH >= LEAST:
            small[figure.name] = min(letters) / width * TEXT_WIDTH
    assert small == {}


def test_those_who_meet_the_criterion_stand_beyond_both_of_its_lines(figures: dict[str, Figure]) -> None:
    rows = figures["paper-02-criterion"].rows
    for row in rows:
        beyond = (row["ratio"] or 0) > 1000 and row["value"] > 100
        assert beyond is (row["role"] in ("meets the criterion", "this model")), row
    assert len({row["model"] for row in rows if row["role"] == "does not"}) == 5, "four, and one that was tuned"


@pytest.mark.parametrize("name", ["paper-04-jumps", "paper-07-generations"])
def test_no_name_is_written_over_another(name: str, figures: dict[str, Figure]) -> None:
    texts = items_of(scene_of(figures[name].spec), "mark", "text")
    columns: dict[float, list[float]] = {}
    for one in texts:
        if one["text"] != MODEL or name == "paper-04-jumps":
            columns.setdefault(one["x"], []).append(one["y"])
    assert sum(map(len, columns.values())) > 6
    for heights in columns.values():
        assert all(after - before >= 10 for before, after in pairwise(sorted(heights))), heights


def test_names_are_written_in_ink_and_series_have_forms_of_their_own(figures: dict[str, Figure]) -> None:
    names = [one for one in items_of(scene_of(figures["paper-07-generations"].spec), "mark", "text")
             if one["text"] != MODEL]  # fmt: skip
    assert len({one["fill"] for one in names}) == 1
    legend = items_of(scene_of(figures["paper-05-scaling"].spec), "legend-symbol")
    assert len({(one["fill"], one["shape"]) for one in legend}) == len(legend) == 8


def test_both_policies_of_int8_are_seen_where_they_are_alike(figures: dict[str, Figure]) -> None:
    points = items_of(scene_of(figures["paper-12-int8"].spec), "mark", "symbol")
    assert len({(one["x"], one["y"]) for one in points}) == len(points)


def test_no_checkpoint_that_jumps_is_said_to_grow_gradually(figures: dict[str, Figure]) -> None:
    """A jump of the first layer, over the embedding, is one: gemma-3-4b-it goes from 28.6 to 11 520 there."""
    streams: dict[str, list[float]] = {}
    roles: dict[str, str] = {}
    for row in figures["paper-04-jumps"].rows:
        streams.setdefault(row["model"], []).append(row["value"])
        roles[row["model"]] = row["role"]
    steps = {name: max(after / before for before, after in pairwise(values)) for name, values in streams.items()}
    published = {one.name: one.stream for one in published_checkpoints()}
    assert {name for name, role in roles.items() if role == "gradual"} == {"gemma-2b", "gemma-2-9b", "Qwen3.5-35B-A3B"}
    assert {name for name, role in roles.items() if role == "jump"} == {
        "Ling-mini-20T",
        "gemma-3-27b-it",
        "Qwen2.5-1.5B",
    }
    for name, role in roles.items():
        if name in published:
            assert tuple(streams[name]) == published[name]
            assert (steps[name] >= 10) is (role == "jump")
