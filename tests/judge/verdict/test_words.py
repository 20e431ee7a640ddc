"""What a finding says: value, place, limit and source, of breaches and of what passes."""

import math
from dataclasses import replace

from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.words import describe_peak
from pytest_maxact.numbers.peaks import Peak
from tests.support.findings import HIDDEN, INT8, holding, limit
from tests.support.records import Measured, record_of


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
