"""What figures show is what the Record holds: known figures read back, and nothing that is wrong left out."""

import math
from dataclasses import replace

import pytest

from pytest_maxact.judge.figures.drawn import drawn_of
from pytest_maxact.judge.figures.published import published_checkpoints
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.record.metrics.figures import integer_figures
from pytest_maxact.record.summary import summary
from pytest_maxact.report.figures.distribution import distribution
from pytest_maxact.report.figures.experts import experts
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.low_bits import low_bits
from pytest_maxact.report.figures.massive import massive
from pytest_maxact.report.figures.scale import scale
from pytest_maxact.report.figures.trajectory import trajectory
from pytest_maxact.report.figures.trust import intervals
from tests.support import records
from tests.support.drawing import marks_of, model_of, scene_of, with_everything
from tests.support.findings import limit
from tests.support.records import CALM

RECORD = model_of()
HIDDEN = "layers.2.hidden"


def drawn(figure: Figure | LeftOut) -> Figure:
    assert isinstance(figure, Figure)
    return figure


def test_the_residual_stream_has_its_maxima_jumps_and_27_published_beside_it() -> None:
    figure = drawn(trajectory(drawn_of(RECORD)))
    shown = {row["place"]: row["value"] for row in figure.rows}
    assert shown["layer 2"] == RECORD[HIDDEN].max_abs
    assert [row["place"] for row in figure.rows if row["jump"]] == ["layer 1"]
    published = figure.spec["datasets"]["published"]
    assert len({row["model"] for row in published}) == 27
    assert {row["model"] for row in published if row["role"] != "published"} == {"Qwen3-1.7B", "Qwen3-8B", "Qwen3-32B"}


def test_what_a_published_line_says_is_of_its_stream_and_called_m_only_where_it_is() -> None:
    """M of Qwen3.5-0.8B is its final norm's, five times the largest of its residual stream."""
    figure = drawn(trajectory(drawn_of(RECORD)))
    m = {one.name: one.max_abs for one in published_checkpoints()}
    told = {row["model"]: float(row["shown"]) for row in figure.spec["datasets"]["published"]}
    assert (told["Qwen3.5-0.8B"], m["Qwen3.5-0.8B"]) == (23.5, 122.0)
    assert "M" not in {hint["title"] for layer in figure.spec["layer"] for hint in layer["encoding"]["tooltip"]}


def test_m_stands_in_its_place_on_the_published_scale() -> None:
    figure = drawn(scale(drawn_of(RECORD)))
    (own,) = [row for row in figure.rows if row["role"] == "this model"]
    assert (own["value"], own["rank"]) == (RECORD.carrier.max_abs, 8)
    assert "larger than 7 of 27" in figure.alternative


def test_published_checkpoints_of_the_same_m_are_neither_below_nor_above() -> None:
    equal = drawn_of(records.record({**CALM, HIDDEN.replace("2", "1"): [[7968.0, 1.0, 2.0, -8.0]]}))
    words = drawn(scale(equal)).alternative
    assert "larger than 9 of 27 published checkpoints" in words
    assert "equal to Qwen2.5-1.5B-Instruct, Qwen2.5-1.5B" in words


def test_an_interval_of_too_few_samples_is_neither_told_nor_drawn() -> None:
    whole = with_everything(RECORD)
    effect = whole.effects["W8A8"]
    for many, is_told in ((19, False), (20, True)):
        few = replace(effect, samples=many, by_sample=effect.by_sample[:1] * many)
        rows = drawn(intervals(drawn_of(replace(whole, effects={"W8A8": few})))).rows
        (row,) = [row for row in rows if row["figure"] == "W8A8.mean_kl"]
        assert (row["low"] is not None, row["high"] is not None) == (is_told, is_told)
        assert row["interval"].startswith("too few samples") is not is_told


def test_every_entry_of_a_distribution_is_in_a_bin_or_told() -> None:
    found = drawn_of(records.record({**CALM, HIDDEN.replace("2", "0"): [[0.0, 1.0, 1.25, -350.0]]})).distributed
    assert found is not None
    (site,) = [one for one in found.sites if one.site == "layers.0.hidden"]
    assert [(one.low, one.high, one.count) for one in site.bins] == [(1.0, 1.25, 2), (1.25, 1.5, 2), (320.0, 384.0, 2)]
    assert (site.zeros, site.below, site.count) == (2, 0, 8)


def test_marks_of_a_distribution_stand_where_formats_clip() -> None:
    figure = drawn(distribution(drawn_of(RECORD)))
    marks = {row["name"]: row["value"] for row in figure.spec["datasets"]["marks"] if row["place"] == 0}
    carrier = RECORD.carrier
    assert marks["INT-8 max_abs"] == integer_figures(carrier, "max_abs").threshold
    assert (marks["FP16 ends"], marks["FP8 E4M3 ends"], marks["FP8 E5M2 ends"]) == (65504, 448, 57344)
    assert isinstance(distribution(drawn_of(summary(RECORD))), LeftOut)


def test_low_bits_are_those_of_the_record_and_a_failing_one_is_marked() -> None:
    failing = check(RECORD, limit(90.0, HIDDEN, "int8.max_abs.sqnr_db", "min"))
    figure = drawn(low_bits(drawn_of(RECORD, None, [failing])))
    rows = {(row["site"], row["scheme"]): row for row in figure.rows}
    row = rows[HIDDEN, "INT-8 max_abs"]
    assert row["sqnr_db"] == pytest.approx(integer_figures(RECORD[HIDDEN], "max_abs").sqnr_db, rel=1e-5)
    assert (row["fails"], row["limit"]) == (True, 90.0)
    assert [one["site"] for one in figure.rows if one["fails"]] == [HIDDEN]


def test_massive_channels_are_named_with_their_tokens() -> None:
    figure = drawn(massive(drawn_of(RECORD)))
    rows = [row for row in figure.rows if row["site"] == HIDDEN]
    assert (rows[0]["channel"], rows[0]["token"], rows[0]["role"]) == (7, "t0", "criterion met")
    assert "Channels of the largest entries there: " in figure.alternative


def test_a_line_break_that_carries_an_entry_is_spelled_once() -> None:
    reading = RECORD[HIDDEN]
    broken = replace(reading, peaks=tuple(replace(peak, token="\n") for peak in reading.peaks))
    figure = drawn(massive(drawn_of(replace(RECORD, sites={**RECORD.sites, HIDDEN: broken}))))
    labels = {row["label"] for row in figure.rows if row["site"] == HIDDEN}
    assert any(r"'\n'" in label for label in labels)
    assert not any(r"\\n" in label for label in labels)


def test_experts_that_no_token_reached_are_marked_however_many_there_are() -> None:
    record = model_of(2, 300)
    router = "layers.1.router"
    given = (0, 0, *(5 for _ in range(298)))
    record = replace(record, sites={**record.sites, router: replace(record[router], tokens_per_expert=given)})
    figure = drawn(experts(drawn_of(record)))
    (row,) = [row for row in figure.rows if row["site"] == router]
    assert (row["unreached"], row["experts"], row["busiest"]) == (2, 300, 2)
    assert row["pairs"] == 298 * 5, "of a token and an expert: a token that has several is no several tokens"
    assert "tokens" not in row
    assert f"{router} (2 of 300)" in figure.alternative


@pytest.mark.parametrize("draw", [trajectory, scale, low_bits])
def test_what_is_not_finite_is_marked_and_never_dropped(draw: object) -> None:
    assert callable(draw)
    broken = records.record({**CALM, "layers.1.hidden": [[math.nan, 1.0, 2.0, -8.0]]})
    figure = draw(drawn_of(broken))
    assert [row for row in figure.rows if row["broken"]]
    assert marks_of(scene_of(figure.spec), ("symbol",)) > 0
    assert "finite" in figure.alternative


def test_a_choice_of_sites_holds_every_breach_up_to_a_number_that_is_said() -> None:
    findings = [check(RECORD, limit(1e-6, name)) for name in RECORD.sites]
    deep = model_of(12)
    found = drawn_of(deep, None, [check(deep, limit(1e-6, name)) for name in deep.sites])
    assert found.distributed is not None
    assert found.distributed.untold > 0
    assert f"{found.distributed.untold} sites more with breaches" in drawn(distribution(found)).alternative
    small = drawn_of(RECORD, None, findings).distributed
    assert small is not None
    assert small.untold == 0
    assert {site.site for site in small.sites} == set(RECORD.sites)
