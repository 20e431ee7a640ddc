"""The third verdict: what is too close to call is never a plain pass, and never excuses what is beyond its limit."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from pytest_maxact.judge.deploy.fitness import fitness_of
from pytest_maxact.judge.limits.limit import CARRIER, MODEL, Limit
from pytest_maxact.judge.trust.interval import IntervalKind
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.judge.verdict.close import close_remarks
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.tally import Told, tally_of
from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.numbers.sums import SchemeSums
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.metrics.metric import GROWTH, INT8_SQNR, SHRINK
from pytest_maxact.record.metrics.scheme import scheme_distortion
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from pytest_maxact.report.terminal.verdict import OF_MAXIMA, verdict_lines
from tests.support.changes import relative, residual
from tests.support.findings import HIDDEN, INT8, limit
from tests.support.records import bf16, histogram, record
from tests.support.sampled import having, with_effect
from tests.support.waivers import waiver

STEADY = [100.0] + [96.0] * 10 + [50.0] * 29
"""Of forty samples: the fifth largest is 96, 4 % below the largest."""
KL = [0.08, 0.1, 0.12, 0.1] * 10


def found(record: Record, bound: Limit, close: str = "warn", baseline: Record | None = None) -> Finding:
    (finding,) = judge(record, [bound], {"v1": baseline} if baseline else None, close=close)
    return finding


@pytest.mark.parametrize(
    ("bound", "passed", "close"),
    [(200.0, True, False), (106.0, True, False), (104.0, True, True), (100.0, True, True), (99.0, False, True),
     (97.0, False, True), (90.0, False, False)],
)  # fmt: skip
@pytest.mark.parametrize("site", [HIDDEN, CARRIER])
def test_a_maximum_is_close_to_what_another_corpus_or_the_same_again_may_give(
    bound: float, passed: bool, close: bool, site: str
) -> None:
    finding = found(having(*STEADY), limit(bound, site))
    assert (finding.passed, finding.close) == (passed, close)
    assert finding.interval is not None
    assert finding.interval.low == pytest.approx(100 / 1.05)
    assert finding.interval.high == pytest.approx(105)
    assert ("too close to call" in finding.message) is close


def test_the_words_of_a_maximum_say_what_is_known_exactly_and_what_more_text_can_do() -> None:
    loose = [100.0] + [60.0] * 39
    over, under = (found(having(*loose), limit(bound)) for bound in (80.0, 102.0))
    assert over.message.endswith("too close to call: another corpus of this size, or the same again, may give 60")
    assert under.message.endswith("too close to call: measured again it may be 105")
    for one in (over, under):
        assert _lines(one).count(OF_MAXIMA) == _lines(one, one).count(OF_MAXIMA) == 1
    average = found(with_effect(having(*STEADY), KL), limit(0.102, MODEL, "W8A8.mean_kl"))
    assert average.close
    assert OF_MAXIMA not in _lines(average)
    assert over.interval is not None
    assert "another corpus of this size reaches 60 in 9" in over.interval.meaning
    assert "lies above what was found in half of them at most, nobody knows how far" in over.interval.meaning
    assert over.interval.kind is IntervalKind.MAXIMUM


def test_a_lower_limit_is_close_from_above() -> None:
    above = found(having(*STEADY), limit(97.0, metric="max_abs.min", sense="min"))
    below = found(having(*STEADY), limit(103.0, metric="max_abs.min", sense="min"))
    assert (above.passed, above.close, below.passed, below.close) == (True, True, False, True)


def test_the_range_of_a_format_is_as_uncertain_as_the_maximum() -> None:
    record = having(*STEADY)
    headroom = 65504 / 100
    near = found(record, limit(headroom * 0.97, metric="FP16.headroom", sense="min"))
    far = found(record, limit(headroom * 0.5, metric="FP16.headroom", sense="min"))
    assert (near.passed, near.close, far.close) == (True, True, False)
    assert near.interval is not None
    assert near.interval.kind is IntervalKind.MINIMUM
    assert near.interval.low < near.value < near.interval.high
    assert f"measured again it may be {near.interval.low:.6g}" in near.message


def test_the_range_over_a_maximum_that_other_text_may_leave_at_zero_has_no_upper_end() -> None:
    for metric, largest in (("FP16.headroom", 65504), ("BF16.headroom", 3.3895314e38)):
        finding = found(having(100.0, *[0.0] * 39), limit(600.0, metric=metric, sense="min"))
        assert finding.interval is not None
        assert finding.interval.low == pytest.approx(largest / 105)
        assert finding.interval.high == math.inf


@pytest.mark.parametrize(
    ("record", "why"),
    [(having(*STEADY[:2]), "too few samples: 2"), (summary(having(*STEADY)), "the Record is slim")],
)
def test_without_an_interval_it_is_said_why_and_nothing_is_close(record: Record, why: str) -> None:
    finding = found(record, limit(100.0))
    assert (finding.interval, finding.close, finding.passed) == (None, False, True)
    assert finding.untold.startswith(why)


def test_what_is_not_finite_has_no_interval_and_fails_plainly() -> None:
    record = having(*STEADY)
    broken = replace(
        record,
        sites={
            name: replace(reading, peaks=(replace(reading.peaks[0], value=math.inf),))
            for name, reading in record.sites.items()
        },
    )
    finding = found(broken, limit(100.0))
    assert (finding.passed, finding.close, finding.interval) == (False, False, None)


@pytest.mark.parametrize(("bound", "passed", "close"), [(0.2, True, False), (0.102, True, True), (0.099, False, True)])
def test_an_average_is_close_where_its_interval_reaches_over_the_limit(bound: float, passed: bool, close: bool) -> None:
    finding = found(with_effect(having(*STEADY), KL), limit(bound, MODEL, "W8A8.mean_kl"))
    assert (finding.passed, finding.close) == (passed, close)
    assert finding.interval is not None
    assert finding.interval.kind is IntervalKind.AVERAGE
    assert finding.interval.low < finding.value < finding.interval.high


def test_an_average_says_how_much_more_text_would_decide() -> None:
    """Four times the samples have half of the interval, so at half of its width three times as many more."""
    record = with_effect(having(*STEADY), KL)
    wide = found(record, limit(1.0, MODEL, "W8A8.mean_kl"))
    assert wide.interval is not None
    half = wide.value + (wide.interval.high - wide.value) / 2
    told = found(record, limit(half, MODEL, "W8A8.mean_kl"))
    more = re.search(r"some (\d+) more tokens of such text would decide", told.message)
    assert more is not None
    assert int(more[1]) == pytest.approx(3 * record.tokens, rel=0.05)
    at_it = found(record, limit(wide.value, MODEL, "W8A8.mean_kl"))
    assert at_it.message.endswith("no amount of text that is worth measuring would decide")


@pytest.mark.parametrize("metric", ["kl_q99", "mean_kl"])
def test_a_quantile_and_an_effect_of_an_earlier_version_have_none(metric: str) -> None:
    record = with_effect(having(*STEADY), KL)
    old = replace(record, effects={name: replace(one, by_sample=()) for name, one in record.effects.items()})
    finding = found(old, limit(0.121, MODEL, f"W8A8.{metric}"))
    assert finding.interval is None
    assert finding.untold
    assert not finding.close


@pytest.mark.parametrize("bound", [102.0, 99.0, 200.0])
def test_asked_to_fail_what_is_close_fails_and_nothing_else_changes(bound: float) -> None:
    warned, failed = (found(having(*STEADY), limit(bound), close) for close in ("warn", "fail"))
    assert failed.close == warned.close
    assert failed.passed == (warned.passed and not warned.close)
    if warned.passed and warned.close:
        assert "too close to call, which fails here" in failed.message
    else:
        assert failed == warned


def test_a_change_is_close_within_the_noise_of_its_limit() -> None:
    for grown, passed, close in ((4.0, True, False), (4.75, True, False), (5.75, True, True), (6.25, False, True),
                                 (7.0, False, False)):  # fmt: skip
        finding = found(residual(1.0, grown), relative(GROWTH, 1.5), baseline=residual(1.0, 4.0))
        assert (finding.passed, finding.close) == (passed, close), grown


def test_what_lies_inside_the_noise_is_no_change_and_never_close() -> None:
    for grown in (4.0, 4.03125, 4.125):
        for bound in (1.0, 1.02, 1.04):
            for close in ("warn", "fail"):
                finding = found(residual(1.0, grown), relative(GROWTH, bound), close, residual(1.0, 4.0))
                assert finding.passed
                assert not finding.close


def test_a_model_against_itself_in_other_batches_never_fails() -> None:
    """Two hundred measurements of one text, whose maxima and distributions move by less than the arithmetic does."""
    generator = np.random.default_rng(3)
    plain = residual(1.0, 4.0)
    for _ in range(200):
        moved = residual(*bf16(np.array([1.0, 4.0]) * generator.uniform(1 / 1.045, 1.045, 2)))
        for metric in (GROWTH, SHRINK):
            for bound in (1.0, 1.03, 2.0):
                finding = found(moved, relative(metric, bound), "fail", plain)
                assert finding.passed, finding.message


def test_what_is_close_is_counted_beside_what_holds_and_told_in_words() -> None:
    record = having(*STEADY)
    holds, near, beyond = (found(record, limit(bound)) for bound in (200.0, 102.0, 99.0))
    far = found(record, limit(50.0))
    waived = replace(far, waiver=waiver())
    for findings, headline in (
        ((holds, near), "PASS: all 2 checks hold, 1 of them too close to call"),
        ((near,), "PASS: the one check holds, but is too close to call"),
        ((holds, near, near, waived), "PASS: 3 of 4 checks hold, 2 of them too close to call, 1 is waived"),
        (
            (holds, near, beyond),
            "FAIL: 1 of 3 checks does not hold (too close to call), 1 that holds is too close to call",
        ),
        (
            (holds, near, near, beyond, far),
            "FAIL: 2 of 5 checks do not hold (1 of them too close to call), 2 that hold are too close to call",
        ),
        ((holds, beyond, beyond), "FAIL: 2 of 3 checks do not hold (all of them too close to call)"),
    ):
        assert _lines(*findings)[0] == headline
    (line,) = (line for line in _lines(holds, near) if "too close" in line and "PASS" not in line)
    assert line.startswith("too close to call: layers.0.hidden: max_abs 100")
    assert line.endswith("; measured again it may be 105")
    assert line.count("too close") == 1
    many = _lines(*[near] * 9)
    assert sum(line.startswith("too close to call: ") for line in many) == 4
    assert any(line.startswith("and 5 more that hold are too close to call: ") for line in many)
    assert list(close_remarks([holds, near, beyond])) == [
        f"1 check holds and is too close to call, the nearest {near.limit.check}"
    ]
    nearer = found(record, limit(101.0, CARRIER))
    assert list(close_remarks([near, nearer])) == [
        f"2 checks hold and are too close to call, the nearest {nearer.limit.check}"
    ]


def _lines(*findings: Finding) -> list[str]:
    tally = tally_of([Told(checkpoint="", finding=finding) for finding in findings])
    assert len(tally.close) == sum(finding.close and finding.passed for finding in findings)
    return [text.plain for text in verdict_lines(tally)]


def test_an_int8_ratio_is_close_by_what_measuring_again_and_another_scale_would_give() -> None:
    """One calibration sample alone is four times as large as all others: without it INT-8 has two bits more."""
    plain = record({HIDDEN: np.linspace(0.0078125, 1.0, 128).reshape(-1, 4)})
    held = plain[HIDDEN].held
    assert isinstance(held, Distributions)
    lonely = np.full(40, 0.25, np.float32)
    lonely[0] = 1.0
    samples = tuple((f"s{i:02d}", "a", ("calibration", "evaluation")[i >= 20], 10) for i in range(40))
    maxima = SampleMaxima(lonely, np.zeros(40, np.int32), np.zeros(40, np.int32))
    small = histogram(bf16(np.linspace(0.0078125, 0.25, 32)))
    reading = replace(plain[HIDDEN], held=replace(held, maxima=maxima, evaluation=small))
    lone = replace(plain, sites={**plain.sites, HIDDEN: reading}, provenance=replace(plain.provenance, samples=samples))
    value = metric_value(reading, INT8_SQNR)
    finding = found(lone, limit(value + 5, HIDDEN, INT8, "min"))
    assert (finding.passed, finding.close) == (False, True)
    assert finding.interval is not None
    assert finding.interval.low == pytest.approx(value - 0.6)
    assert finding.interval.high > value + 6
    assert finding.message.endswith(f"another calibration split, it may be {finding.interval.high:.4g} dB")
    assert "another calibration split of this size exceeds in 9" in finding.interval.meaning
    assert "other text to evaluate on is no part of it" in finding.interval.meaning
    assert finding.interval.kind is IntervalKind.REPEATED
    far = found(lone, limit(value - 1, HIDDEN, INT8, "min"))
    assert (far.passed, far.close) == (True, False)
    near = found(lone, limit(value - 0.5, HIDDEN, INT8, "min"))
    assert (near.passed, near.close) == (True, True)


def test_a_scheme_of_sampled_tokens_is_close_by_the_error_of_the_sample() -> None:
    sums = SchemeSums(
        tokens=100, entries=400, nonzero=400, signal=1e4, error=100.0, signal_abs=1.0, error_abs=1.0,
        signal_squares=1.5e6, error_squares=200.0, products=1.2e4, calm_tokens=100, calm_signal=1e4, calm_error=100.0,
    )  # fmt: skip
    plain = record({"layers.0.qkv_in": np.ones((400, 4))})
    (site,) = (name for name in plain.sites if "qkv_in" in name)
    held = plain[site].held
    assert isinstance(held, Distributions)
    reading = replace(plain[site], held=replace(held, schemes={"W8A8": sums}))
    told = replace(plain, sites={**plain.sites, site: reading})
    error = scheme_distortion(reading, "W8A8").sqnr_error_db
    assert error > 0.1
    finding = found(told, limit(15.0, site, "W8A8.sqnr_db", "min"))
    assert finding.interval is not None
    assert finding.interval.high - finding.value == pytest.approx(0.6 + 1.96 * error)
    assert f"within {1.96 * error:.3g} dB" in finding.interval.meaning
    other = found(told, limit(0.5, site, "W8A8.clip_rate"))
    assert (other.interval, other.untold) == (None, "of it no sums of single samples are kept")


def test_a_scheme_with_a_check_that_fails_for_being_close_does_not_fit() -> None:
    record = with_effect(having(*STEADY), KL)
    loose, near = (limit(bound, MODEL, "W8A8.mean_kl") for bound in (0.2, 0.102))
    warned, failed = (found(record, near, close) for close in ("warn", "fail"))
    assert [one.fits for one in fitness_of(record, [loose], [warned])] == ["yes"]
    assert [one.fits for one in fitness_of(record, [loose], [failed])] == ["NO"]
    assert [one.fits for one in fitness_of(record, [near], [failed])] == ["NO"]
