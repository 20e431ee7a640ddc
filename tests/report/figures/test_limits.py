"""How near sites are to their limits, as it is drawn: every site with a limit, in percent, breaches above the line."""

import math
from dataclasses import replace

import pytest

from pytest_maxact.judge.figures.drawn import drawn_of
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.limits import limits
from tests.support import records
from tests.support.drawing import items_of, marks_of, scene_of
from tests.support.findings import limit
from tests.support.records import CALM
from tests.support.waivers import waiver

SITES = ("layers.0.hidden", "layers.1.hidden")


def figure(bound: float, **changes: list[list[float]]) -> Figure:
    record = records.record({**CALM, **changes})
    found = limits(drawn_of(record, None, [check(record, limit(bound, name)) for name in SITES]))
    assert isinstance(found, Figure)
    return found


def test_every_site_with_a_limit_stands_at_its_share_of_it() -> None:
    found = figure(10.0)
    assert {row["site"]: (row["used"], row["share"], row["over"]) for row in found.rows} == {
        SITES[0]: (80.0, "80.0%", None),
        SITES[1]: (160.0, "160.0%", True),
    }
    assert "2 sites with a limit, 1 above it: layers.1.hidden." in found.alternative
    assert "layers.1.hidden 160.0% (16 of 10)" in found.alternative
    assert marks_of(scene_of(found.spec)) == 4, "two points, a ring, and the line of the limit"


def test_the_axis_is_linear_until_one_uses_more_than_twice_its_limit() -> None:
    assert '"log"' not in f"{scale(figure(10.0))}"
    assert scale(figure(10.0))["domain"] == [0, 168.0]
    assert scale(figure(7.0))["type"] == "log"


def scale(found: Figure) -> dict[str, object]:
    (of, *_) = [one for layer in found.spec["layer"] for one in [layer["encoding"]["y"].get("scale")] if one]
    return dict(of)


def test_what_is_not_finite_is_marked_and_named() -> None:
    found = figure(10.0, **{SITES[1]: [[math.inf, 1.0, 1.0, 1.0]]})
    (row,) = [row for row in found.rows if row["broken"]]
    assert (row["site"], row["used"], row["share"]) == (SITES[1], None, "NaN or infinite")
    assert "Not finite: layers.1.hidden" in found.alternative
    assert marks_of(scene_of(found.spec), ("symbol",)) == 2


@pytest.mark.parametrize("judged", [True, False])
def test_without_limits_it_is_left_out_and_says_why(judged: bool) -> None:
    record = records.record(CALM)
    findings = [check(record, limit(1.0, SITES[0], "int8.max_abs.sqnr_db", "min"))] if judged else []
    found = limits(drawn_of(record, None, findings))
    assert isinstance(found, LeftOut)
    assert ("held against limits" in found.reason) is not judged


def test_a_site_of_zeros_takes_no_other_off_a_logarithmic_axis() -> None:
    found = figure(7.0, **{SITES[0]: [[0.0, 0.0, 0.0, 0.0]]})
    assert scale(found)["type"] == "log"
    assert {row["site"]: row["share"] for row in found.rows} == {SITES[0]: "0.0%", SITES[1]: "228.6%"}
    scene = scene_of(found.spec)
    points = items_of(scene, "mark", "symbol")
    assert len(points) == 2, "the point and the ring of the other"
    assert all(0 <= point["y"] <= 260 for point in [*points, *items_of(scene, "mark", "rule")])


def test_a_ring_is_of_a_largest_magnitude_that_fails_and_not_of_another_check_there() -> None:
    record = records.record(CALM)
    name = SITES[1]
    exceeds = replace(check(record, limit(10.0, name)), waiver=waiver(name))
    assert exceeds.accepted
    lower = check(record, limit(999.0, name, "int8.max_abs.sqnr_db", "min"))
    found = limits(drawn_of(record, None, [exceeds, lower]))
    assert isinstance(found, Figure)
    assert [(row["share"], row["over"]) for row in found.rows] == [("160.0%", None)]
