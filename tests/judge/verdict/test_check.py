"""Comparisons pass only where they are true of numbers, say what was found and where, and reach programs as plain
JSON.
"""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.limit import CARRIER, Limit
from pytest_maxact.judge.limits.rules import GENERIC, Ruleset, require_protocol, select_rules
from pytest_maxact.judge.published import TIERS, published, standing
from pytest_maxact.judge.verdict.check import check, judge
from pytest_maxact.judge.verdict.words import describe_peak
from pytest_maxact.numbers.formats import integer_distortion
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.record.file import load, save
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.metrics.metric import Metric
from pytest_maxact.record.metrics.value import beyond_fp16
from pytest_maxact.record.record import Record
from tests.support import records
from tests.support.metrics import value_of
from tests.support.records import Measured, bf16, record_of
from tests.support.reports import data_of

HIDDEN = "layers.0.hidden"
INT8 = "int8.max_abs.sqnr_db"


def limit(
    bound: float,
    site: str = HIDDEN,
    metric: str = "max_abs",
    sense: str = "max",
    figure: float | None = None,
    headroom: float | None = None,
) -> Limit:
    return Limit(
        site=site,
        metric=Metric.parse(metric),
        bound=bound,
        sense=sense,
        rule="shape Tiny",
        source="a paper",
        file="limits.yaml",
        line=7,
        figure=figure,
        headroom=headroom,
    )


def holding(*values: float, site: str = HIDDEN) -> Record:
    """A Record of one site that gave these values to one token of either split."""
    return records.record({site: [list(values)]})


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
        (INT8, "min", -1000.0),
        ("int8.clip_q0.999.sqnr_db", "min", -1000.0),
        ("int8.max_abs.rel_rmse", "max", 1e30),
        ("int8.max_abs.rel_mae", "max", 1e30),
        ("int8.max_abs.clip_rate", "max", 1.0),
        ("int8.max_abs.flush_to_zero", "max", 1.0),
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


def test_int8_with_an_empty_evaluation_split_passes_no_check() -> None:
    """Without an entry to restore no error can be large: its SQNR would be infinite."""
    record = holding(1.0, 0.3125)
    halved = replace(record, sites={HIDDEN: records.holding(record[HIDDEN], evaluation=Histogram.empty("bfloat16"))})
    try:
        passed = check(halved, limit(10.0, metric=INT8, sense="min")).passed
    except MeasureError:
        passed = False
    assert not passed


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
        name: np.full((1, 4), 0.25)
        for name in ("embedding", "layers.0.hidden", "layers.1.hidden", "layers.1.gate", "final_norm")
    }
    values["layers.1.hidden"] = np.array([[70_656.0, 1.0, 0.0, 0.0]])
    record = records.record(values)
    rules = select_rules(
        load_limits(), identity_of(record.provenance), [reading.site for reading in record.sites.values()]
    )
    assert [f.limit.check for f in judge(record, rules.limits) if not f.passed] == []
    values["layers.1.hidden"] = bf16([[71_168.0, 1.0, 0.0, 0.0]])
    assert [f.limit.check for f in judge(records.record(values), rules.limits) if not f.passed] == [
        "layers.1.hidden::max_abs"
    ]


def test_a_site_that_the_record_lacks_is_no_verdict() -> None:
    with pytest.raises(
        MeasureError, match=r"the Record has no site layers\.9\.hidden, for which limits\.yaml:7 sets a limit"
    ):
        judge(holding(1.0), [limit(9.0), limit(9.0, "layers.9.hidden")])


def test_no_limits_are_no_verdict() -> None:
    with pytest.raises(MeasureError, match="there are no limits to judge by, so nothing was checked"):
        judge(holding(1.0), [])


# Metrics by name


def test_metrics_are_the_figures_of_the_whole_site() -> None:
    reading = records.reading([1.0, -4.0], [2.0, 8.0, 0.3125])
    whole = np.array([1.0, -4.0, 2.0, 8.0, 0.3125])
    assert value_of(reading, "max_abs") == 8.0
    assert value_of(reading, "nonfinite") == 0.0
    assert value_of(reading, "rms") == pytest.approx(math.sqrt(np.mean(whole**2)))
    assert value_of(reading, "quantile.0.6") == 2.0
    assert value_of(reading, "quantile.1.0") == 8.0


@pytest.mark.parametrize(("name", "bits"), [("int8", 8), ("int4", 4), ("int16", 16)])
@pytest.mark.parametrize("policy", ["max_abs", "clip_q0.9975", "optimal"])
def test_any_width_and_clip_can_be_asked_of_a_record_afterwards(name: str, bits: int, policy: str) -> None:
    reading = records.reading(np.linspace(-9, 9, 40), np.linspace(-11, 5, 30))
    expected = integer_distortion(reading.calibration, reading.evaluation, policy, bits)
    assert value_of(reading, f"{name}.{policy}.sqnr_db") == expected.sqnr_db
    assert value_of(reading, f"{name}.{policy}.clip_rate") == expected.clip_rate


@pytest.mark.parametrize("policy", ["max_abs", "clip_q0.5"])
@pytest.mark.parametrize(
    "quantity", ["threshold", "sqnr_db", "rel_rmse", "rel_mae", "clip_rate", "flush_to_zero", "levels_used"]
)
def test_int8_metrics_calibrate_on_one_split_and_measure_on_the_other(policy: str, quantity: str) -> None:
    reading = records.reading([1.0, -4.0], [2.0, 8.0, 0.3125])
    expected = getattr(integer_distortion(reading.calibration, reading.evaluation, policy), quantity)
    assert value_of(reading, f"int8.{policy}.{quantity}") == expected
    swapped = getattr(integer_distortion(reading.evaluation, reading.calibration, policy), quantity)
    assert expected != swapped or quantity in ("flush_to_zero", "clip_rate", "levels_used")


@pytest.mark.parametrize(
    "metric",
    [
        *(
            "",
            "p99",
            "max",
            "MAX_ABS",
            "quantile.",
            "quantile.high",
            "quantile.0",
            "quantile.1.5",
            "int1.max_abs.sqnr_db",
        ),
        *("int.max_abs.sqnr_db", "int99.max_abs.sqnr_db", "int8x.max_abs.sqnr_db"),
        *("int8", "int8.sqnr_db", "int8.max_abs", "int8.max_abs.policy", "int8.max_abs.snr"),
        *("int8.minmax.sqnr_db", "int8.clip_qx.sqnr_db", "int8.clip_q2.sqnr_db"),
    ],
)
@pytest.mark.parametrize("value", [1.0, math.nan])
def test_an_unknown_metric_is_refused_with_the_known_ones(metric: str, value: float) -> None:
    with pytest.raises(
        InputError,
        match=(
            r"max_abs, nonfinite, rms, unreached_experts, quantile\.<q>, int<bits>\.<policy>\.<quantity> and <SCHEME>"
        ),
    ):
        value_of(records.reading([value], [value]), metric)


# What a finding says


def test_a_breach_says_what_where_and_by_which_limit() -> None:
    finding = check(holding(1.0, -17664.0), limit(16_000.0, figure=12_800.0, headroom=1.25))
    assert (
        finding.message
        == "layers.0.hidden: max_abs 17664 at sample s0, token 0 't0', channel 1 exceeds the limit 16000 (12800 x"
        " 1.25); shape Tiny (limits.yaml:7, a paper)"
    )


def test_a_pass_says_so() -> None:
    assert (
        "max_abs 2 at sample s0, token 0 't0', channel 0 within the limit 3; shape Tiny"
        in check(holding(2.0), limit(3.0)).message
    )


def test_an_sqnr_names_its_headroom_in_db() -> None:
    record = holding(8.0, 0.3125)
    figure, headroom = 100.0, 2.0
    stated = limit(figure - 20 * math.log10(headroom), metric=INT8, sense="min", figure=figure, headroom=headroom)
    assert "falls below the limit 93.9794 (100 less 6.02 dB)" in check(record, stated).message
    assert "meets the limit 1; " in check(record, limit(1.0, metric=INT8, sense="min")).message


def test_a_non_finite_entry_is_named_with_sample_token_and_channel() -> None:
    samples = [
        Measured(id="math-01", split="calibration", values={HIDDEN: [[1.0, 2.0]]}),
        Measured(id="math-02", values={HIDDEN: [[1.0, 2.0], [1.0, 2.0], [3.0, math.nan]]}),
        Measured(id="math-03", values={HIDDEN: [[math.inf, 2.0]]}),
    ]
    finding = check(record_of(samples), limit(0.0, metric="nonfinite"))
    assert (
        finding.message
        == "layers.0.hidden: 2 non-finite entries of 10, first in sample math-02, token 2 't2', channel 1"
    )
    assert (finding.value, finding.passed) == (2.0, False)


def test_a_maximum_beside_non_finite_entries_is_not_shown_as_the_maximum() -> None:
    message = check(holding(2.0, math.nan), limit(100.0)).message
    assert message.startswith("layers.0.hidden: no max_abs to hold against 100, 2 entries are NaN or infinite")


def test_peaks_behind_routing_are_named_by_channel_and_part() -> None:
    known = Peak(value=1.0, sample="s", position=3, token=" the", token_id=5, channel=7)
    assert describe_peak(known) == "at sample s, token 3 ' the', channel 7"
    assert describe_peak(replace(known, part="shared")) == "at sample s, token 3 ' the', channel 7 of shared"
    assert describe_peak(replace(known, sample="", position=-1, token="", part="experts")) == "at channel 7 of experts"


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


# Among the published


def test_the_published_are_in_ascending_order() -> None:
    figures = [p.max_abs for p in published()]
    assert figures == sorted(figures)
    assert len({p.model for p in published()}) == len(published()) == 27


def test_tiers_do_not_overlap() -> None:
    assert all(lower.low < lower.high < upper.low for lower, upper in pairwise(TIERS))


@pytest.mark.parametrize(
    ("model", "members"),
    [
        ("Qwen3.5-0.8B", "Qwen3.5, MoE"),
        ("gemma-2-9b", "small Gemma"),
        ("gemma-2b", "small Gemma"),
        ("Qwen2.5-VL-3B", "Qwen2.5, Qwen3 dense, Ling"),
        ("Qwen3-32B", "Qwen2.5, Qwen3 dense, Ling"),
        ("gpt-oss-20b", "gpt-oss-20b, gemma-2-27b"),
        ("gemma-2-27b", "gpt-oss-20b, gemma-2-27b"),
        ("gemma-3-4b-it", "Gemma3"),
        ("gemma-3-27b-it", "Gemma3"),
    ],
)
def test_the_lowest_and_highest_of_a_tier_are_in_its_range(model: str, members: str) -> None:
    (max_abs,) = (checkpoint.max_abs for checkpoint in published() if checkpoint.model == model)
    assert standing(max_abs).endswith(f"; in the range of {members}")


def test_standing_names_the_neighbours_and_the_tier() -> None:
    assert (
        standing(1700)
        == "larger than 5 of 27 published checkpoints: above gemma-2-9b (1664) and below Qwen3.5-27B (1848); in the"
        " range of small Gemma"
    )
    assert standing(20_000).startswith(
        "larger than 19 of 27 published checkpoints: above Qwen3-8B (17664) and below Qwen2.5-32B-Instruct (22144)"
    )
    assert standing(50_000).endswith("below gpt-oss-20b (145408)"), "between tiers"


def test_standing_at_either_end() -> None:
    assert standing(3.0) == "larger than 0 of 27 published checkpoints: below Qwen3.5-0.8B (122)"
    assert standing(1e6) == "larger than 27 of 27 published checkpoints: above gemma-3-27b-it (696320)"


def test_a_checkpoint_is_not_larger_than_itself() -> None:
    for checkpoint in published():
        smaller = sum(other.max_abs < checkpoint.max_abs for other in published())
        assert standing(checkpoint.max_abs).startswith(f"larger than {smaller} of 27 "), checkpoint.model


# As data

SUMMARY_SITES = {
    "embedding": [[0.5, 1.0]],
    HIDDEN: [[4.0, -200.0]],
    "layers.0.gate": [[0.0, 0.0]],
    "final_norm": [[2.0, 1.5]],
}


def test_a_summary_says_where_the_maximum_is() -> None:
    summary = data_of(records.record(SUMMARY_SITES))
    assert summary["M"] == {"value": 200.0, "site": HIDDEN, "sample": "s0", "position": 0, "token": "t0", "channel": 1}
    assert (summary["model"], summary["family"], summary["protocol"], summary["tokens"]) == (
        "somebody/model",
        "qwen3",
        "paper",
        2,
    )
    assert summary["published"] == standing(200.0)
    assert summary["fp16"] == {"fits": True, "sites_beyond": []}


def test_a_summary_holds_the_figures_of_every_site() -> None:
    record = records.record(SUMMARY_SITES)
    summary = data_of(record)
    assert list(summary["sites"]) == list(SUMMARY_SITES)
    for name, reading in record.sites.items():
        data, whole = summary["sites"][name], reading.histogram
        assert (data["kind"], data["layer"], data["width"], data["elements"]) == (
            reading.site.kind,
            reading.site.layer,
            2,
            4,
        )
        assert (data["max_abs"], data["nonfinite"], data["rms"], data["mean_abs"]) == (
            whole.max_abs,
            0,
            whole.rms,
            whole.mean_abs,
        )
        assert data["quantiles"] == {
            "0.5": whole.quantile(0.5),
            "0.99": whole.quantile(0.99),
            "0.999": whole.quantile(0.999),
        }
        assert set(data["int8"]) == {"max_abs", "clip_q0.999"}
        error = integer_distortion(reading.calibration, reading.evaluation, "max_abs")
        assert data["int8"]["max_abs"]["threshold"] == error.threshold
        assert data["int8"]["max_abs"]["flush_to_zero"] == error.flush_to_zero
        assert data["top"][0]["value"] == reading.peaks[0].value


def test_a_summary_is_strict_json_whatever_was_seen() -> None:
    """An SQNR is infinite where nothing was lost, a maximum where nothing was finite: JSON has neither."""
    values = SUMMARY_SITES | {"final_norm": [[math.nan, math.inf]], "embedding": [[3.3895313892515355e38, 0.0]]}
    summary = data_of(records.record(values, left_out=("*.router",), experts=None))
    assert summary["sites"]["layers.0.gate"]["int8"]["max_abs"]["sqnr_db"] is None
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["fp16"]["sites_beyond"] == ["embedding", "final_norm"]


def test_a_summary_of_nothing_finite_has_no_place_for_its_maximum() -> None:
    summary = data_of(holding(math.nan))
    assert summary["M"] == {
        "value": None,
        "site": HIDDEN,
        "sample": None,
        "position": None,
        "token": None,
        "channel": None,
    }
    assert summary["sites"][HIDDEN]["nonfinite"] == 2
    json.dumps(summary, allow_nan=False)


def test_a_summary_of_a_loaded_record_is_the_same(tmp_path: Path) -> None:
    record = records.record(SUMMARY_SITES)
    save(record, tmp_path / "r.safetensors")
    assert data_of(load(tmp_path / "r.safetensors")) == data_of(record)
