"""Comparisons pass only where they are true of numbers, say what was found and where, and reach programs as plain
JSON.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.limit import CARRIER
from pytest_maxact.judge.limits.rules import GENERIC, Ruleset, require_protocol, select_rules
from pytest_maxact.judge.verdict.check import check, judge
from pytest_maxact.numbers.formats import integer_distortion
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.metrics.value import beyond_fp16
from pytest_maxact.record.record import Record
from tests.support import records
from tests.support.findings import HIDDEN, INT8, holding, limit
from tests.support.records import Measured, bf16, record_of

# The comparison


@pytest.mark.parametrize(
    ("bound", "passes"), [(7.5, False), (math.nextafter(8.0, 0), False), (8.0, True), (8.5, True), (math.nan, False)]
)
def test_a_maximum_passes_up_to_its_limit(bound: float, passes: bool) -> None:
    finding = check(holding(1.0, -8.0), limit(bound))
    assert (finding.value, finding.passed) == (8.0, passes)


@pytest.mark.parametrize(("offset", "passes"), [(-0.5, True), (0.0, True), (1e-9, False), (math.nan, False)])
def test_an_sqnr_passes_down_to_its_limit(offset: float, passes: bool) -> None:
    record = holding(1.0, -8.0, 0.3125)
    reading = record[HIDDEN]
    exact = integer_distortion(reading.calibration, reading.evaluation, "max_abs").sqnr_db
    finding = check(record, limit(exact + offset, metric=INT8, sense="min"))
    assert (finding.value, finding.passed) == (exact, passes)


def test_usage_is_the_share_of_the_limit() -> None:
    assert check(holding(8.0), limit(32.0)).usage == 0.25
    assert check(holding(8.0), limit(4.0)).usage == 2.0
    assert math.isnan(check(holding(8.0, 0.3125), limit(4.0, metric=INT8, sense="min")).usage), "decibels have no share"
    assert math.isnan(check(holding(8.0), limit(0.0, metric="nonfinite")).usage)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("split", ["calibration", "evaluation"])
@pytest.mark.parametrize(
    ("metric", "sense", "bound"),
    [
        ("max_abs", "max", 1e30),
        ("rms", "max", 1e30),
        ("quantile.0.5", "max", 1e30),
        ("nonfinite", "max", 0.0),
        (INT8, "min", -99.0),
        ("int8.clip_q0.999.sqnr_db", "min", -99.0),
        ("int8.max_abs.rel_rmse", "max", 1e30),
        ("int8.max_abs.rel_mae", "max", 1e30),
        ("int8.max_abs.clip_rate", "max", 1.0),
        ("int8.max_abs.flush_to_zero", "max", 1.0),
        ("max_abs.min", "min", 0.5),
        ("max_abs", "min", 0.5),
        ("rms", "min", 0.0),
    ],
)
def test_one_non_finite_entry_fails_every_check_of_its_site(
    metric: str, sense: str, bound: float, split: str, bad: float
) -> None:
    values = {"calibration": [1.0, 2.0, 0.5], "evaluation": [1.0, 2.0, 0.5]}
    clean = record_of([Measured(id=name, split=name, values={HIDDEN: [entries]}) for name, entries in values.items()])
    assert check(clean, limit(bound, metric=metric, sense=sense)).passed
    values[split][1] = bad
    broken = record_of([Measured(id=name, split=name, values={HIDDEN: [entries]}) for name, entries in values.items()])
    assert broken[HIDDEN].finite_max <= 2.0, "the finite maximum alone would pass"
    assert broken[HIDDEN].max_abs == math.inf
    assert not check(broken, limit(bound, metric=metric, sense=sense)).passed


@pytest.mark.parametrize(
    ("metric", "sense", "bound"),
    [
        ("max_abs", "max", 1e30),
        ("rms", "max", 1e30),
        ("quantile.0.9", "max", 1e30),
        (INT8, "min", 0.0),
        ("int8.max_abs.rel_rmse", "max", 1.0),
    ],
)
def test_a_site_that_saw_nothing_passes_no_check(metric: str, sense: str, bound: float) -> None:
    nothing = Histogram.empty("bfloat16")
    silent = replace(records.holding(holding(1.0)[HIDDEN], calibration=nothing, evaluation=nothing), peaks=())
    record = replace(holding(1.0), sites={HIDDEN: silent})
    try:
        passed = check(record, limit(bound, metric=metric, sense=sense)).passed
    except MeasureError:
        passed = False
    assert not passed


@pytest.mark.parametrize("site", [HIDDEN, CARRIER])
@pytest.mark.parametrize("split", ["calibration", "evaluation"])
@pytest.mark.parametrize(("metric", "sense", "bound"), [(INT8, "min", -99.0), ("int8.max_abs.rel_rmse", "max", 1e30)])
def test_int8_without_one_of_the_splits_is_no_verdict(
    metric: str, sense: str, bound: float, split: str, site: str
) -> None:
    """Without a scale nothing is told, and without an entry to restore no error can be large."""
    record = holding(1.0, 0.3125)
    hollow = records.holding(record[HIDDEN], **{split: Histogram.empty("bfloat16")})
    halved = replace(record, sites={HIDDEN: hollow})
    with pytest.raises(MeasureError, match=rf"{HIDDEN}: nothing was counted there, so {metric} is no figure to judge"):
        check(halved, limit(bound, site, metric=metric, sense=sense))
    assert check(halved, limit(2.0)).passed, "other figures are told without it"


def test_the_exact_maximum_of_a_float32_site_is_judged_rather_than_its_rounded_histogram() -> None:
    record = holding(1000.0)
    exact = replace(record[HIDDEN].peaks[0], value=1000.123)
    record = replace(record, sites={HIDDEN: replace(record[HIDDEN], dtype="float32", peaks=(exact,))})
    assert not check(record, limit(1000.0)).passed
    assert check(record, limit(1000.123)).passed


def test_a_limit_on_the_carrier_is_judged_where_the_maximum_sits() -> None:
    record = records.record(
        {"layers.0.hidden": [[3.0, 1.0]], "layers.1.hidden": [[8.0, 0.3125]], "layers.1.gate": [[50.0, 1.0]]}
    )
    finding = check(record, limit(0.0, site=CARRIER, metric=INT8, sense="min"))
    assert finding.reading.site.name == "layers.1.hidden"
    assert finding.message.startswith("layers.1.hidden (carrier of M): int8.max_abs.sqnr_db ")


def test_judging_gives_a_finding_for_every_limit_in_order() -> None:
    record = records.record({"embedding": [[1.0]], HIDDEN: [[4.0]]})
    limits = [limit(2.0, "embedding"), limit(2.0), limit(0.0, metric="nonfinite")]
    findings = judge(record, iter(limits))
    assert [finding.limit for finding in findings] == limits
    assert [finding.passed for finding in findings] == [True, False, True]


def test_shipped_limits_judge_a_record_end_to_end() -> None:
    values = {
        name: np.full((1, 4), 1.0)
        for name in ("embedding", "layers.0.hidden", "layers.1.hidden", "layers.1.gate", "final_norm")
    }
    values["layers.1.hidden"] = np.array([[70_656.0, 1.0, 1.0, 0.0]])
    record = records.record(values)
    rules = select_rules(
        load_limits(), identity_of(record.provenance), [reading.site for reading in record.sites.values()]
    )
    assert [f.limit.check for f in judge(record, rules.limits) if not f.passed] == []
    values["layers.1.hidden"] = bf16([[71_168.0, 1.0, 1.0, 0.0]])
    assert [f.limit.check for f in judge(records.record(values), rules.limits) if not f.passed] == [
        "layers.1.hidden::max_abs"
    ]
    values["layers.1.hidden"] = bf16([[0.5, 0.0, 0.0, 0.0]])
    small = [f for f in judge(records.record(values), rules.limits) if not f.passed]
    assert [f.limit.check for f in small] == ["layers.1.hidden::max_abs.min", "layers.1.hidden::quantile.0.5"]
    assert all("implausibly small: not trained, or not loaded" in f.message for f in small)
    assert small[0].message.startswith(
        "layers.1.hidden: max_abs 0.5 at sample s0, token 0 't0', channel 0 falls below the limit 0.625 (17.5 / 28), "
    )


def test_a_site_that_the_record_lacks_is_no_verdict() -> None:
    with pytest.raises(
        MeasureError, match=r"the Record has no site layers\.9\.hidden, for which limits\.yaml:7 sets a limit"
    ):
        judge(holding(1.0), [limit(9.0), limit(9.0, "layers.9.hidden")])


def test_no_limits_are_no_verdict() -> None:
    with pytest.raises(MeasureError) as caught:
        judge(holding(1.0), [])
    assert str(caught.value) == "there are no limits to judge by, so nothing was checked"


# Protocol and range


def ruleset(family: str, protocol: str | None) -> Ruleset:
    return Ruleset(family=family, shape=None, protocol=protocol, limits=())


def test_limits_judge_measurements_of_their_own_protocol_only() -> None:
    require_protocol("paper", ruleset("qwen3", "paper"))
    require_protocol("deployed", ruleset("qwen3", "deployed"))
    with pytest.raises(InputError) as caught:
        require_protocol("deployed", ruleset("qwen3", "paper"))
    assert "the limits of family 'qwen3' hold for protocol 'paper', the measurement is of protocol 'deployed'" in str(
        caught.value
    )
    assert "measure under protocol paper" in str(caught.value)
    assert "`protocol: deployed` beside `version: 1`" in str(caught.value)


@pytest.mark.parametrize("protocol", ["paper", "deployed"])
def test_generic_limits_hold_for_every_protocol(protocol: str) -> None:
    require_protocol(protocol, ruleset(GENERIC, None))


def fp32_record(value: float) -> Record:
    record = holding(1.0)
    peak = replace(record[HIDDEN].peaks[0], value=value)
    return replace(record, sites={HIDDEN: replace(record[HIDDEN], dtype="float32", peaks=(peak,))})


def test_65504_fits_float16_and_65536_does_not() -> None:
    assert beyond_fp16(fp32_record(-65504.0)) == []
    assert [reading.site.name for reading in beyond_fp16(fp32_record(65504.004))] == [HIDDEN]
    assert [reading.site.name for reading in beyond_fp16(holding(-65536.0))] == [HIDDEN]
    assert beyond_fp16(holding(65280.0)) == []


def test_any_site_can_be_beyond_float16_gates_and_non_finite_ones_too() -> None:
    record = records.record(
        {"embedding": [[1.0]], HIDDEN: [[math.inf]], "layers.0.gate": [[131072.0]], "final_norm": [[2.0]]}
    )
    assert [reading.site.name for reading in beyond_fp16(record)] == [HIDDEN, "layers.0.gate"]
