"""What a finding says: value, place, limit and source, of breaches and of what passes."""

import math
from dataclasses import replace

import pytest

from pytest_maxact.judge.limits.limit import CARRIER
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.words import describe_peak, describe_unreached, origin_words
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.numbers.probe import Probe
from pytest_maxact.record.record import Record
from tests.support import records
from tests.support.findings import HIDDEN, INT8, holding, limit
from tests.support.fitness import measured, sums, weight
from tests.support.records import Measured, record_of

SMALL = "implausibly small: not trained, or not loaded"


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


@pytest.mark.parametrize(
    ("metric", "bound", "sense", "figure", "headroom", "stated"),
    [
        ("max_abs", 4.0, "max", 2.0, 2.0, "exceeds the limit 4 (2 x 2)"),
        (
            "max_abs.min",
            9.0,
            "min",
            18.0,
            2.0,
            "falls below the limit 9 (18 / 2), implausibly small: not trained, or not loaded",
        ),
        ("max_abs.min", 8.0, "min", 16.0, 2.0, "meets the limit 8 (16 / 2)"),
        ("max_abs.min", 9.0, "min", None, None, "falls below the limit 9"),
        ("max_abs", 4.0, "max", 2.0, None, "exceeds the limit 4"),
        ("max_abs", 4.0, "max", None, 2.0, "exceeds the limit 4"),
    ],
)
def test_a_limit_names_the_figure_and_the_margin_that_it_stands_on(
    metric: str, bound: float, sense: str, figure: float | None, headroom: float | None, stated: str
) -> None:
    told = check(holding(8.0), limit(bound, metric=metric, sense=sense, figure=figure, headroom=headroom)).message
    assert told == (
        f"{HIDDEN}: max_abs 8 at sample s0, token 0 't0', channel 0 {stated}; shape Tiny (limits.yaml:7, a paper)"
    )


def test_a_figure_of_the_layer_is_told_as_its_own() -> None:
    stated = replace(limit(4.0, figure=2.0, headroom=2.0), of_layer=True)
    assert " exceeds the limit 4 (the layer's own figure 2 x 2); " in check(holding(8.0), stated).message


@pytest.mark.parametrize(
    ("file", "source", "words"),
    [
        ("/a/b/limits.yaml", "a paper", " (limits.yaml:7, a paper)"),
        ("/a/b/limits.yaml", "", " (limits.yaml:7)"),
        ("", "a paper", " (a paper)"),
        ("", "", ""),
    ],
)
def test_where_a_limit_is_written_stands_before_what_it_was_taken_from(file: str, source: str, words: str) -> None:
    assert origin_words(replace(limit(1.0), file=file, source=source)) == words


def routed(*tokens: int) -> Record:
    name = "layers.0.router"
    record = holding(1.0, site=name)
    return replace(record, sites={name: replace(record[name], tokens_per_expert=tokens)})


@pytest.mark.parametrize(
    ("tokens", "words", "relation"),
    [
        ((3, 0, 2, 0), "2 of 4 experts (1, 3), a share of 0.5, which exceeds", False),
        ((3, 1, 2, 0), "1 of 4 experts (3), a share of 0.25, which is within", True),
        ((3, 1, 2, 1), "0 of 4 experts, a share of 0, which is within", True),
        ((0,) * 8, "8 of 8 experts (0, 1, 2, 3, 4, 5, 6, 7), a share of 1, which exceeds", False),
        ((0,) * 9, "9 of 9 experts (0, 1, 2, 3, 4, 5, 6, 7, ...), a share of 1, which exceeds", False),
    ],
)
def test_experts_that_no_token_reached_are_counted_and_eight_of_them_named(
    tokens: tuple[int, ...], words: str, relation: bool
) -> None:
    finding = check(routed(*tokens), limit(0.25, "layers.0.router", "unreached_experts"))
    assert finding.passed is relation
    assert finding.message == (
        f"layers.0.router: no token reached {words} the limit 0.25; shape Tiny (limits.yaml:7, a paper)"
    )
    assert describe_unreached(routed(*tokens)["layers.0.router"]) == words.partition(",  a")[0].partition(", a")[0]


def test_a_router_that_was_not_counted_says_so_in_numbers() -> None:
    assert describe_unreached(holding(1.0)[HIDDEN]) == "0 of 0 experts"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"layer": 0.5, "attn_output": 0.75}, "the layer changes 50.00%"),
        ({"layer": 0.5, "attn_output": 0.25, "mlp_output": 0.375}, "the block behind attn_output changes 25.00%"),
        ({"layer": 0.5, "mlp_output": 0.00125}, "the block behind mlp_output changes 0.12%"),
    ],
)
@pytest.mark.parametrize("bound", [0.001, 0.9])
def test_the_part_of_a_layer_that_does_least_is_named(changed: dict[str, float], words: str, bound: float) -> None:
    record = holding(1.0)
    probe = Probe(sample="math-07", tokens=12, changed=changed)
    record = replace(record, sites={HIDDEN: replace(record[HIDDEN], probe=probe)})
    finding = check(record, limit(bound, metric="changed", sense="min"))
    relation = "falls below" if bound > 0.5 else "meets"
    assert finding.passed == (relation == "meets")
    assert finding.message == (
        f"{HIDDEN}: {words} of the residual stream's entries (first 12 tokens of math-07), which {relation} the limit"
        f" {bound:g}; shape Tiny (limits.yaml:7, a paper)"
    )
    assert check(record, limit(9.0)).message.startswith(f"{HIDDEN}: max_abs 1 at sample s0"), "of nothing else"


SCHEMED = "layers.1.o_in"


@pytest.mark.parametrize(
    ("metric", "bound", "sense", "words"),
    [
        ("W8A8.sqnr_db", 20.0, "min", "20 (of 100 sampled tokens, standard error 0.81 dB) meets the limit 20"),
        ("W8A8.sqnr_db", 30.0, "min", "20 (of 100 sampled tokens, standard error 0.81 dB) falls below the limit 30"),
        ("W8A8.flush_to_zero", 0.5, "max", "0.25 (of 100 sampled tokens) within the limit 0.5"),
    ],
)
def test_a_figure_of_sampled_tokens_says_how_many_and_how_sure(
    metric: str, bound: float, sense: str, words: str
) -> None:
    """By the delta method 10 / ln 10 x sqrt(4 x (1 - 100 / 800)) / 10 dB, where 100 of 800 tokens were seen."""
    sampled = replace(sums(20.0, flushed=0.25), error_squares=4.0, signal_squares=40000.0, products=200.0)
    many = records.histogram([0.5, 1.0] * 4000)
    record = measured(worst={SCHEMED: sampled})
    record = replace(record, sites={**record.sites, SCHEMED: records.holding(record[SCHEMED], evaluation=many)})
    finding = check(record, limit(bound, SCHEMED, metric, sense))
    assert finding.message == f"{SCHEMED}: {metric} {words}; shape Tiny (limits.yaml:7, a paper)"


def test_a_figure_of_all_tokens_is_no_estimate() -> None:
    found = check(measured(worst={SCHEMED: sums(25.0, tokens=6)}), limit(20.0, SCHEMED, "W8A8.sqnr_db", "min"))
    assert found.message.startswith(f"{SCHEMED}: W8A8.sqnr_db 25 meets the limit 20; ")


def test_the_worst_weight_by_error_and_by_what_becomes_zero_are_named() -> None:
    record = measured()
    flushed = replace(weight(60.0), flush_to_zero=0.75)
    weights = {"a.weight": {"W8A8": weight(30.0)}, "b.weight": {"W8A8": flushed}}
    record = replace(record, sites={**record.sites, SCHEMED: replace(record[SCHEMED], weights=weights)})
    by_error = check(record, limit(20.0, SCHEMED, "W8A8.weight_sqnr_db", "min"))
    assert by_error.message.startswith(f"{SCHEMED}: W8A8.weight_sqnr_db 30 in a.weight meets the limit 20; ")
    by_flushing = check(record, limit(0.5, SCHEMED, "W8A8.weight_flush_to_zero"))
    assert by_flushing.message.startswith(
        f"{SCHEMED}: W8A8.weight_flush_to_zero 0.75 in b.weight exceeds the limit 0.5; "
    )


def test_a_weight_that_a_scheme_refuses_is_named_with_the_reason() -> None:
    record = measured(weights={SCHEMED: weight(math.nan, "60 is no multiple of 128")})
    finding = check(record, limit(20.0, SCHEMED, "W8A8.weight_sqnr_db", "min"))
    assert finding.message.startswith(
        f"{SCHEMED}: W8A8.weight_sqnr_db nan in {SCHEMED}.weight (60 is no multiple of 128) falls below the limit 20; "
    )


def test_the_headroom_of_a_format_is_no_estimate_from_samples() -> None:
    found = check(holding(8.0), limit(2.0, metric="FP16.headroom", sense="min"))
    assert found.message.startswith(f"{HIDDEN}: FP16.headroom 8188 meets the limit 2; ")
    single = holding(8.0)
    single = replace(single, sites={HIDDEN: replace(single[HIDDEN], dtype="float32")})
    assert check(single, limit(2.0, metric="FP16.headroom", sense="min")).message == found.message


def test_a_site_with_non_finite_entries_says_how_many_and_against_what() -> None:
    finding = check(holding(2.0, math.nan), limit(100.0, figure=50.0, headroom=2.0))
    assert finding.message == (
        f"{HIDDEN}: no max_abs to hold against 100 (50 x 2), 2 entries are NaN or infinite; shape Tiny (limits.yaml:7,"
        " a paper)"
    )


def test_no_place_is_named_where_none_is_known() -> None:
    record = holding(2.0, math.nan)
    record = replace(record, sites={HIDDEN: replace(record[HIDDEN], first_nonfinite=None, peaks=())})
    assert check(record, limit(0.0, metric="nonfinite")).message == f"{HIDDEN}: 2 non-finite entries of 4"
    sound = holding(2.0)
    sound = replace(sound, sites={HIDDEN: replace(sound[HIDDEN], peaks=())})
    assert check(sound, limit(9.0, metric="rms")).message == (
        f"{HIDDEN}: rms 2 within the limit 9; shape Tiny (limits.yaml:7, a paper)"
    )


def test_the_carrier_is_named_as_such_and_a_site_is_not() -> None:
    record = records.record({"layers.0.hidden": [[3.0, 1.0]], "layers.1.hidden": [[8.0, 0.3125]]})
    assert check(record, limit(9.0, CARRIER)).message.startswith("layers.1.hidden (carrier of M): max_abs 8 at sample ")
    assert check(record, limit(9.0, "layers.1.hidden")).message.startswith("layers.1.hidden: max_abs 8 at sample ")
