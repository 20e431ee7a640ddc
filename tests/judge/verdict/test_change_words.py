"""What a finding about a change says: from what to what, where, and of which side there is nothing to tell."""

import math
from dataclasses import replace

import pytest

from pytest_maxact.judge.verdict.check import check
from pytest_maxact.numbers.probe import Probe
from pytest_maxact.record.metrics.metric import GROWTH, INT8_SQNR, JUMP, MASSIVE, SHIFT, SHRINK, TURN, Metric, drop_of
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.record import Record
from tests.support import records
from tests.support.changes import relative, residual

HIDDEN = "layers.0.hidden"


def told(after: Record, metric: Metric, bound: float, before: Record, floor: float | None = None) -> str:
    """What is said before the limit, which is told apart from it."""
    site = "model" if metric in (MASSIVE, JUMP) else HIDDEN
    finding = check(after, relative(metric, bound, site, floor), before)
    words, found, rest = finding.message.partition(", which ")
    relation = "is within" if finding.passed else "exceeds"
    assert found + rest == f", which {relation} the limit {bound:g}; regression against v1 (limits.yaml:3)"
    return words


def pointing(*sketch: int) -> Record:
    record = residual(1.0, 2.0)
    probe = Probe(sample="s0", tokens=1, changed={}, sketch=sketch)
    return replace(record, sites={**record.sites, HIDDEN: replace(record[HIDDEN], probe=probe)})


@pytest.mark.parametrize("bound", [9.0, 2.0])
def test_what_shrank_is_told_with_both_figures_and_the_place(bound: float) -> None:
    words = told(residual(1.0, 2.0), SHRINK, bound, residual(1.0, 8.0))
    assert words == f"{HIDDEN}: max_abs shrank 4 times, from 8 to 2 at sample s0, token 0 't0', channel 0"


def test_a_site_whose_largest_entries_are_not_known_has_no_place() -> None:
    after = residual(1.0, 2.0)
    after = replace(after, sites={**after.sites, HIDDEN: replace(after[HIDDEN], peaks=())})
    assert told(after, SHRINK, 2.0, residual(1.0, 8.0)) == f"{HIDDEN}: max_abs shrank inf times, from 8 to 0"


@pytest.mark.parametrize("bound", [0.75, 0.25])
def test_what_shifted_is_told_with_the_spread_of_both(bound: float) -> None:
    words = told(residual(1.0, 4.0), SHIFT, bound, residual(1.0, 2.0))
    assert words == f"{HIDDEN}: its distribution shifted by 0.5, the rms went from 1.414 to 2.828"


@pytest.mark.parametrize("bound", [1.5, 0.5])
def test_what_turned_is_told_as_an_angle_to_the_baseline(bound: float) -> None:
    words = told(pointing(3, 4), TURN, bound, pointing(4, -3))
    assert words == f"{HIDDEN}: its outputs turned by 1, 1 less the cosine with those of v1"


def test_what_fell_is_told_with_both_figures_in_db() -> None:
    before, after = (records.record({HIDDEN: [[8.0, entry]]}) for entry in (7.0, 0.03125))
    was, now = (metric_value(one[HIDDEN], INT8_SQNR) for one in (before, after))
    words = told(after, drop_of(INT8_SQNR), 0.5, before)
    assert words == f"{HIDDEN}: int8.max_abs.sqnr_db fell by {was - now:.2f} dB, from {was:.2f} to {now:.2f}"


@pytest.mark.parametrize(
    ("before", "after", "whose"),
    [((1.0, math.nan), (1.0, 2.0), "v1 has"), ((1.0, 2.0), (1.0, math.inf), "it has"),
     ((1.0, math.nan), (1.0, math.nan), "it and v1 have")],
)  # fmt: skip
@pytest.mark.parametrize("metric", [GROWTH, SHRINK, SHIFT, drop_of(INT8_SQNR)])
def test_the_side_that_is_not_finite_is_named(
    before: tuple[float, float], after: tuple[float, float], whose: str, metric: Metric
) -> None:
    words = told(residual(*after), metric, 2.0, residual(*before))
    assert words == f"{HIDDEN}: no {metric} to tell, {whose} entries that are NaN or infinite"


@pytest.mark.parametrize("metric", [MASSIVE, JUMP])
def test_of_a_stream_that_is_not_finite_nothing_is_told(metric: Metric) -> None:
    words = told(residual(1.0, math.nan), metric, 9.0, residual(1.0, 2.0))
    assert words == f"no {metric} to tell, the residual stream has entries that are NaN or infinite"


@pytest.mark.parametrize(
    ("massive", "bound", "layers"),
    [((0, 0, 0), 0.0, "0 layers {}"), ((5, 0, 5), 1.0, "2 layers {} (0, 2)"), ((9, 9, 3), 3.0, "2 layers {} (0-1)")],
)
def test_layers_that_hold_massive_activations_anew_are_counted_and_named(
    massive: tuple[int, ...], bound: float, layers: str
) -> None:
    words = told(
        residual(1.0, 2.0, 2.0, 2.0, massive=massive), MASSIVE, bound, residual(1.0, 2.0, 2.0, 2.0, massive=[0] * 3),
        floor=4.0,
    )  # fmt: skip
    assert words == layers.format("meet the massive-activation criterion anew")


def test_a_jump_below_the_floor_is_none_in_words_as_in_the_figure() -> None:
    before, after = residual(1.0, 20.0, 20.0), residual(1.0, 1.0, 20.0)
    assert told(after, JUMP, 0.5, before, floor=10.0) == "the first jump layer went from layer 0 to layer 1"
    assert told(after, JUMP, 0.5, before, floor=30.0) == "the first jump layer stays (none)"


def test_without_a_floor_a_jump_between_small_magnitudes_is_one() -> None:
    before, after = residual(0.0078125, 0.5, 20.0), residual(0.5, 0.5, 20.0)
    assert told(after, JUMP, 0.5, before) == "the first jump layer went from layer 0 to layer 1"


def test_without_a_floor_one_massive_token_counts() -> None:
    words = told(residual(1.0, 2.0, massive=[1]), MASSIVE, 0.5, residual(1.0, 2.0, massive=[0]))
    assert words == "1 layer meets the massive-activation criterion anew (0)"
