"""The heat map has a cell for every site, marks breaches and what is not finite, and says its numbers in words."""

import math

from pytest_maxact.judge.figures.drawn import drawn_of
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.heat import heat
from tests.support import records
from tests.support.findings import limit
from tests.support.records import CALM

HIDDEN = "layers.0.hidden"


def test_three_known_cells_read_as_the_record_does() -> None:
    figure = heat(drawn_of(records.record(CALM)))
    shown = {row["site"]: row["shown"] for row in figure.rows}
    assert (shown["layers.1.hidden"], shown["layers.0.mlp_output"], shown["embedding"]) == ("16", "3", "2")
    drawn = {row["site"]: row["value"] for row in figure.spec["datasets"]["rows"]}
    assert drawn == {row["site"]: row["value"] for row in figure.rows}
    assert "layers.1.hidden 16" in figure.alternative


def test_a_breach_and_what_is_not_finite_are_marked() -> None:
    record = records.record({**CALM, "final_norm": [[math.inf, 1.0, 1.0, 2.0]]})
    figure: Figure = heat(drawn_of(record, None, [check(record, limit(4.0, HIDDEN))]))
    rows = {row["site"]: row for row in figure.rows}
    assert (rows[HIDDEN]["breach"], rows[HIDDEN]["share"]) == ("fails", "200.0%")
    assert (rows["final_norm"]["colour"], rows["final_norm"]["shown"]) == (None, "NaN or infinite")
    assert "Not finite: final_norm" in figure.alternative
