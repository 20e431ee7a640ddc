"""Verdicts on changes: none passes that is no number, has no bound or no baseline."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.compare.changes import record_change, site_change
from pytest_maxact.judge.compare.jumps import first_jump, jump_shift
from pytest_maxact.judge.verdict.bound import holds
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.record.metrics.metric import GROWTH, INT8_SQNR, JUMP, MASSIVE, SHIFT, SHRINK, drop_of
from tests.support import records
from tests.support.changes import BROKEN, patient, reading, relative, residual


@patient
@given(st.sampled_from([math.nan, math.inf]), st.floats(0, 1e300))
def test_no_relative_limit_passes_what_is_no_number_or_has_no_bound(value: float, bound: float) -> None:
    assert not holds(value, relative(GROWTH, bound))


@pytest.mark.parametrize("bad", BROKEN)
@pytest.mark.parametrize("broken", ["before", "after", "both"])
@pytest.mark.parametrize("metric", [GROWTH, SHRINK, SHIFT, drop_of(INT8_SQNR), MASSIVE, JUMP])
def test_a_broken_side_fails_every_relative_limit_of_its_site(metric: str, broken: str, bad: float) -> None:
    sound, bad_one = residual(1.0, 2.0), residual(1.0, bad)
    site = "model" if metric in (MASSIVE, JUMP) else "layers.0.hidden"
    limit = relative(metric, 1e6, site, floor=0.0)
    assert check(sound, limit, sound).passed
    before, after = {"before": (bad_one, sound), "after": (sound, bad_one), "both": (bad_one, bad_one)}[broken]
    finding = check(after, limit, before)
    assert math.isnan(finding.value)
    assert not finding.passed
    assert "entries that are NaN or infinite" in finding.message


def test_growth_is_told_with_both_figures_the_place_and_the_limit() -> None:
    finding = check(residual(1.0, 8.0), relative(GROWTH, 2.0), residual(1.0, 2.0))
    assert not finding.passed
    assert (
        finding.message
        == "layers.0.hidden: max_abs grew 4 times, from 2 to 8 at sample s0, token 0 't0', channel 0, which exceeds the"
        " limit 2; regression against v1 (limits.yaml:3)"
    )


@pytest.mark.parametrize(("factor", "passes"), [(2.0, True), (2.015625, False), (1.0, True)])
def test_a_change_passes_up_to_its_limit(factor: float, passes: bool) -> None:
    assert check(residual(1.0, 4.0 * factor), relative(GROWTH, 2.0), residual(1.0, 4.0)).passed == passes
    assert check(residual(1.0, 4.0), relative(SHRINK, 2.0), residual(1.0, 4.0 * factor)).passed == passes


def test_the_jump_that_moved_is_told_by_its_layers() -> None:
    before, after = residual(1.0, 20.0, 20.0, 20.0), residual(1.0, 1.0, 1.0, 20.0)
    assert check(after, relative(JUMP, 1.0, "model"), before).message.startswith(
        "the first jump layer went from layer 0 to layer 2, which exceeds the limit 1;"
    )
    assert check(before, relative(JUMP, 0.0, "model"), before).message.startswith(
        "the first jump layer stays (layer 0), which is within"
    )
    gone = check(residual(1.0, 1.0, 1.0, 1.0), relative(JUMP, 99.0, "model"), before)
    assert (gone.passed, gone.value) == (False, math.inf)
    assert gone.message.startswith("the first jump layer went from layer 0 to none")


def test_a_block_that_died_has_shrunk_without_measure_however_small_it_was() -> None:
    assert site_change(reading(0.25, 0.125), reading(0.0, 0.0), SHRINK, 0.5) == math.inf
    assert site_change(reading(0.0, 0.0), reading(0.0, 0.0), SHRINK, 0.5) == 1.0
    assert site_change(reading(0.25), reading(0.125), SHRINK, 0.5) == 1.0


def test_a_near_jump_of_both_hides_no_jump_of_one() -> None:
    assert jump_shift(residual(1.0, 9.0, 9.0, 9.0), residual(1.0, 9.0, 9.0, 450.0)) == math.inf
    assert jump_shift(residual(1.0, 9.0, 180.0, 180.0), residual(1.0, 9.0, 9.0, 450.0)) == 1.0


def test_a_jump_to_a_magnitude_about_the_floor_may_count_or_not() -> None:
    assert jump_shift(residual(0.5, 9.9375), residual(0.5, 10.0), 10.0) == 0.0
    assert jump_shift(residual(0.5, 7.5), residual(0.5, 13.0), 10.0) == math.inf


def test_no_baseline_is_no_verdict() -> None:
    with pytest.raises(MeasureError, match=r"there is no baseline v1 to compare with\n  give it with `baseline`"):
        check(residual(1.0, 1.0), relative(GROWTH, 2.0), None)


@pytest.mark.parametrize("field", ["corpus_sha256", "tokenizer_sha256", "protocol", "dtype", "max_seq_len"])
def test_a_baseline_that_was_measured_otherwise_is_no_verdict(field: str) -> None:
    record = residual(1.0, 1.0)
    other = replace(record, provenance=replace(record.provenance, **{field: "another"}))
    for site, metric in (("layers.0.hidden", GROWTH), ("model", JUMP)):
        with pytest.raises(InputError, match=f"were not measured alike; they differ in {field}"):
            check(record, relative(metric, 2.0, site), other)


def test_a_site_on_one_side_only_is_no_verdict() -> None:
    more, less = residual(1.0, 1.0, 1.0), residual(1.0, 1.0)
    with pytest.raises(MeasureError, match=r"layers\.1\.hidden: v1 holds nothing of this site to compare with"):
        check(more, relative(GROWTH, 2.0, "layers.1.hidden"), less)
    with pytest.raises(MeasureError, match=r"layers\.1\.hidden: the Record holds nothing of this site"):
        check(less, relative(GROWTH, 2.0, "layers.1.hidden"), more)


@pytest.mark.parametrize("split", ["calibration", "evaluation"])
def test_a_quality_without_one_of_the_splits_is_no_verdict(split: str) -> None:
    """With no entry to restore nothing is lost: the SQNR would be infinite, and no drop from it could be seen."""
    record = residual(1.0, 2.0)
    hollow = records.holding(record["layers.0.hidden"], **{split: records.histogram([])})
    halved = replace(record, sites={**record.sites, "layers.0.hidden": hollow})
    for before, after in ((record, halved), (halved, record), (halved, halved)):
        with pytest.raises(MeasureError, match="a split holds nothing of this site"):
            check(after, relative(drop_of(INT8_SQNR), 3.0), before)


@pytest.mark.parametrize("magnitude", [5.0, 2.0**100])
def test_from_a_layer_of_zeros_nothing_jumps(magnitude: float) -> None:
    """There is nothing to multiply: whether the zeros are sound is another check's to say."""
    assert first_jump(residual(0.0, magnitude)) is None
    assert first_jump(residual(0.0, magnitude, 10 * magnitude)) == 1, "and it hides no jump behind it"
    assert jump_shift(residual(0.0, magnitude, magnitude), residual(1.0, 1.0, 1.0)) == 0.0
    assert jump_shift(residual(0.0, magnitude, magnitude), residual(1.0, 20.0, 20.0)) == math.inf


def test_to_a_layer_of_zeros_nothing_jumps() -> None:
    assert first_jump(residual(5.0, 0.0, 0.0)) is None
    assert first_jump(residual(0.0, 0.0)) is None


@pytest.mark.parametrize("bad", BROKEN)
def test_the_step_to_what_is_not_finite_is_a_jump_and_no_verdict(bad: float) -> None:
    broken = residual(1.0, 2.0, bad, bad)
    assert first_jump(broken) == 1
    assert math.isnan(record_change(residual(1.0, 2.0, 2.0, 2.0), broken, JUMP, None))
