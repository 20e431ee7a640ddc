"""The noise floor of a comparison: what lies inside it is no breach, and it hides nothing else."""

import math
from dataclasses import replace

import pytest

from pytest_maxact.judge.compare.noise import unsteady
from pytest_maxact.judge.remarks import noise_remarks
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.numbers.noise import DOCUMENTED, MOST, Noise, Spread
from pytest_maxact.record.metrics.metric import GROWTH, INT8_SQNR, SHIFT, SHRINK, drop_of
from pytest_maxact.record.record import Record
from tests.support.changes import relative, residual

STEP = 1 + 2**-7
"""From one number of bfloat16 to the next, above a power of two."""


def repeated(record: Record, spread: Spread) -> Record:
    noise = Noise(samples=8, tokens=64, conditions=("2 threads",), sites=dict.fromkeys(record.sites, spread))
    return replace(record, noise=noise)


@pytest.mark.parametrize("metric", [GROWTH, SHRINK])
def test_a_step_of_the_dtype_is_no_breach_of_the_tightest_limit(metric: str) -> None:
    one, other = residual(1.0, 4.0), residual(1.0, 4.0 * STEP)
    before, after = (one, other) if metric == GROWTH else (other, one)
    finding = check(after, relative(metric, 1.0), before)
    assert finding.passed
    assert finding.is_noise
    assert "is inside the noise (5.00%, known of bfloat16); regression" in finding.message


def test_what_keeps_its_limit_is_not_called_noise() -> None:
    finding = check(residual(1.0, 4.0), relative(GROWTH, 1.0), residual(1.0, 4.0))
    assert finding.passed
    assert not finding.is_noise
    assert "noise" not in finding.message


def test_a_difference_beyond_the_floor_is_a_breach() -> None:
    assert 2 * DOCUMENTED["bfloat16"].max_abs < 0.125
    finding = check(residual(1.0, 4.5), relative(GROWTH, 1.0), residual(1.0, 4.0))
    assert not finding.passed
    assert not finding.is_noise


def test_what_was_measured_counts_for_more_than_what_is_known_of_the_dtype() -> None:
    before, after = residual(1.0, 4.0), residual(1.0, 4.0 * STEP)
    still = [repeated(record, Spread()) for record in (before, after)]
    assert not check(still[1], relative(GROWTH, 1.0), still[0]).passed
    moved = repeated(after, Spread(max_abs=0.01))
    finding = check(moved, relative(GROWTH, 1.0), still[0])
    assert finding.passed
    assert "1.00%, of 8 samples under 1 condition" in finding.message


@pytest.mark.parametrize("spread", [math.inf, 3.0])
def test_a_measurement_that_does_not_repeat_itself_hides_no_more_than_any(spread: float) -> None:
    wild = repeated(residual(1.0, 6.0), Spread(max_abs=spread, shift=spread, sqnr_db=spread))
    assert not check(wild, relative(GROWTH, 1.0), residual(1.0, 4.0)).passed
    assert not check(wild, relative(SHIFT, 0.0), residual(1.0, 4.0)).passed
    assert check(repeated(residual(1.0, 4.0 * STEP), Spread(max_abs=spread)), relative(GROWTH, 1.0), wild).passed


def test_it_is_told_that_a_measurement_does_not_repeat_itself() -> None:
    record = residual(1.0, 4.0)
    assert not unsteady(record)
    assert not unsteady(repeated(record, MOST))
    assert "does not repeat itself: largest magnitudes of 2 sites moved by more than 10%" in unsteady(
        repeated(record, Spread(max_abs=0.5))
    )
    assert unsteady(repeated(record, Spread(max_abs=math.inf)))


@pytest.mark.parametrize("metric", [GROWTH, SHRINK, SHIFT, drop_of(INT8_SQNR)])
def test_what_is_no_number_is_never_noise(metric: str) -> None:
    sound, broken = residual(1.0, 2.0), residual(1.0, math.nan)
    wide = Spread(max_abs=math.inf, shift=math.inf, sqnr_db=math.inf)
    for before, after in ((sound, broken), (broken, sound), (broken, broken)):
        finding = check(repeated(after, wide), relative(metric, 1e6, floor=0.0), repeated(before, wide))
        assert not finding.passed


def test_a_dtype_that_is_not_known_excuses_nothing() -> None:
    def of(record: Record) -> Record:
        return replace(record, provenance=replace(record.provenance, dtype="float64"))

    assert not check(of(residual(1.0, 4.0 * STEP)), relative(GROWTH, 1.0), of(residual(1.0, 4.0))).passed


def test_the_head_of_a_verdict_counts_what_was_excused() -> None:
    one = check(residual(1.0, 4.0 * STEP), relative(GROWTH, 1.0), residual(1.0, 4.0))
    plain = check(residual(1.0, 4.0), relative(GROWTH, 1.0), residual(1.0, 4.0))
    assert list(noise_remarks([one, plain])) == [
        "1 change beyond a limit is inside the noise of the measurement, the first layers.0.hidden::growth[v1]"
    ]
    assert not list(noise_remarks([plain]))
