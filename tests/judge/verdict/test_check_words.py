"""What is said where a figure is missing, of the whole model's figures, and of a bound in a test."""

import math
from dataclasses import replace
from typing import Literal

import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.verdict.check import check, check_bound
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.record.effect import Effect
from pytest_maxact.record.metrics.metric import GROWTH, INT8_SQNR, Metric, drop_of
from pytest_maxact.record.predictions import Predicted, Predictions
from pytest_maxact.record.record import Record
from tests.support import records
from tests.support.changes import relative, residual
from tests.support.findings import HIDDEN, INT8, holding, limit

EFFECT = Effect(
    scheme="W8A8", samples=3, tokens=64, mean_kl=0.125, kl_q99=1.25, top1_agreement=0.875, perplexity=9.0,
    perplexity_ratio=1.5,
)  # fmt: skip
OWN = "bound in the test"


def compared(effect: Effect = EFFECT, nonfinite: int = 0) -> Record:
    """A Record of a model whose predictions are told, and compared with those under a scheme."""
    own = Predicted(category="math", tokens=64, nonfinite=nonfinite, nll=64.0, unigram=128.0)
    return replace(records.seen(), effects={"W8A8": effect}, predictions=Predictions(categories=(own,)))


def refused(record: Record, limit: Limit, baseline: Record | None = None) -> str:
    with pytest.raises(MeasureError) as caught:
        check(record, limit, baseline)
    return str(caught.value)


def without(record: Record, **splits: Histogram) -> Record:
    return replace(record, sites={HIDDEN: records.holding(record[HIDDEN], **splits)})


NOTHING = Histogram.empty("bfloat16")

# Nothing to judge


def test_a_site_that_is_missing_is_named_with_the_line_that_limits_it() -> None:
    assert refused(holding(1.0), limit(9.0, "layers.9.hidden")) == (
        "the Record has no site layers.9.hidden, for which limits.yaml:7 sets a limit\n  measure the checkpoint again"
    )


@pytest.mark.parametrize("metric", ["max_abs", "nonfinite", INT8])
def test_a_site_where_nothing_was_counted_is_named(metric: str) -> None:
    record = without(holding(1.0), calibration=NOTHING, evaluation=NOTHING)
    assert refused(record, limit(9.0, metric=metric)) == (
        f"{HIDDEN}: nothing was counted there, so {metric} is no figure to judge\n  measure the checkpoint again"
    )


@pytest.mark.parametrize("split", ["calibration", "evaluation"])
def test_only_what_needs_both_splits_is_no_figure_without_one(split: str) -> None:
    record = without(holding(1.0, 0.5), **{split: NOTHING})
    assert refused(record, limit(9.0, metric=INT8, sense="min")).startswith(f"{HIDDEN}: nothing was counted there")
    assert check(record, limit(1.0)).passed


@pytest.mark.parametrize("site", ["embedding", HIDDEN, "final_norm"])
def test_a_residual_stream_of_zeros_says_that_no_checkpoint_is_sound_so(site: str) -> None:
    record = holding(0.0, site=site)
    finding = check(record, limit(9.0, site))
    assert (finding.value, finding.passed, finding.reading) == (0.0, False, record[site])
    assert finding.message == (
        f"{site}: every entry is zero, which no sound checkpoint gives; the weights are empty or were not loaded"
    )


@pytest.mark.parametrize("site", ["layers.0.attn_output", "layers.0.mlp_output"])
def test_a_block_of_zeros_says_that_it_does_nothing(site: str) -> None:
    assert check(holding(0.0, site=site), limit(9.0, site)).message == (
        f"{site}: every entry is zero, the block does nothing: its weights are empty or were not loaded"
    )


def test_zeros_are_told_of_the_magnitude_alone() -> None:
    assert check(holding(0.0), limit(9.0, metric="rms")).passed
    assert check(holding(0.0), limit(0.0, metric="nonfinite")).passed
    assert check(holding(0.0, site="layers.0.gate"), limit(9.0, "layers.0.gate")).passed


# Changes


def test_a_comparison_with_what_is_missing_names_the_side() -> None:
    more, less = residual(1.0, 1.0, 1.0), residual(1.0, 1.0)
    words = "layers.1.hidden: {} holds nothing of this site to compare with\n  measure it again"
    of_layer = relative(GROWTH, 2.0, "layers.1.hidden")
    assert refused(more, of_layer, less) == words.format("v1")
    assert refused(less, of_layer, more) == words.format("the Record")


@pytest.mark.parametrize("hollow", ["before", "after"])
def test_a_site_where_nothing_was_counted_is_compared_with_nothing(hollow: str) -> None:
    sound = holding(1.0)
    empty = without(sound, calibration=NOTHING, evaluation=NOTHING)
    before, after = (empty, sound) if hollow == "before" else (sound, empty)
    assert "holds nothing of this site to compare with" in refused(after, relative(GROWTH, 2.0), before)


def test_a_split_that_holds_nothing_is_named_with_the_figure_that_needs_it() -> None:
    record = holding(1.0, 0.5)
    assert refused(without(record, evaluation=NOTHING), relative(drop_of(INT8_SQNR), 2.0), record) == (
        f"{HIDDEN}: a split holds nothing of this site, so int8.max_abs.sqnr_db.drop is no figure to judge\n"
        "  measure it again"
    )
    assert check(without(record, evaluation=NOTHING), relative(GROWTH, 2.0), record).passed


@pytest.mark.parametrize(("site", "metric"), [(HIDDEN, "growth"), ("model", "jump_shift")])
def test_a_missing_baseline_is_named_with_its_check(site: str, metric: str) -> None:
    assert refused(residual(1.0, 1.0), relative(Metric.parse(metric), 2.0, site)) == (
        f"{site}::{metric}[v1]: there is no baseline v1 to compare with\n  give it with `baseline`"
    )


def test_a_change_of_a_site_is_found_at_that_site_and_below_its_floor_is_none() -> None:
    before, after = residual(1.0, 2.0), residual(1.0, 8.0)
    grew = check(after, relative(GROWTH, 2.0), before)
    assert (grew.passed, grew.value, grew.reading) == (False, 4.0, after[HIDDEN])
    assert check(after, relative(GROWTH, 2.0, floor=6.0), before).value == 8.0 / 6.0
    moved = check(after, relative(Metric.parse("jump_shift"), 2.0, "model"), before)
    assert (moved.site, moved.reading) == ("model", None)


# Effects


@pytest.mark.parametrize(
    ("metric", "sense", "bound", "words"),
    [
        ("W8A8.mean_kl", "max", 0.125, "W8A8.mean_kl 0.125 on 64 tokens of 3 samples within the limit 0.125"),
        ("W8A8.mean_kl", "max", 0.1, "W8A8.mean_kl 0.125 on 64 tokens of 3 samples exceeds the limit 0.1"),
        ("W8A8.top1_agreement", "min", 0.5, "W8A8.top1_agreement 0.875 on 64 tokens of 3 samples meets the limit 0.5"),
        (
            "W8A8.top1_agreement",
            "min",
            0.9,
            "W8A8.top1_agreement 0.875 on 64 tokens of 3 samples falls below the limit 0.9",
        ),
        ("W8A8.perplexity_ratio", "max", 2.0, "W8A8.perplexity_ratio 1.5 on 64 tokens of 3 samples within the limit 2"),
    ],
)
def test_an_effect_is_told_with_the_text_it_was_found_on(metric: str, sense: str, bound: float, words: str) -> None:
    stated = limit(bound, "model", metric, sense)
    finding = check(compared(), stated)
    assert (finding.limit, finding.value) == (stated, getattr(EFFECT, metric.partition(".")[2]))
    assert finding.message == f"{words}; shape Tiny (limits.yaml:7, a paper)"
    assert finding.passed == (" within " in words or " meets " in words)
    assert (finding.reading, finding.site) == (None, "model")


@pytest.mark.parametrize(
    "record",
    [
        compared(nonfinite=1),
        compared(replace(EFFECT, perplexity=math.nan)),
        replace(compared(nonfinite=1), effects={}),
        replace(compared(replace(EFFECT, perplexity=math.nan)), predictions=None),
    ],
)
@pytest.mark.parametrize(("metric", "sense", "bound"), [("mean_kl", "max", 1e9), ("top1_agreement", "min", 0.0)])
def test_where_the_models_own_predictions_are_not_finite_no_scheme_is_blamed(
    record: Record, metric: str, sense: str, bound: float
) -> None:
    stated = limit(bound, "model", f"W8A8.{metric}", sense)
    finding = check(record, stated)
    assert finding.limit == stated
    assert (finding.passed, math.isnan(finding.value)) == (False, True)
    assert finding.message == (
        f"no W8A8.{metric} to tell: the unquantized model's own predictions are not finite, whatever the scheme"
    )


def test_an_effect_that_was_not_measured_is_named_with_what_asks_for_it() -> None:
    assert refused(records.seen(), limit(1.0, "model", "FP8.mean_kl")) == (
        "the Record holds no effect of FP8 on predictions, for which limits.yaml:7 sets a limit\n"
        "  measure again with `effect` FP8"
    )
    with pytest.raises(MeasureError) as caught:
        check_bound(compared(), "model", "FP8.mean_kl", 1.0, "max")
    assert str(caught.value) == ("the Record holds no effect of FP8 on predictions\n  measure again with `effect` FP8")


@pytest.mark.parametrize("name", ["max_abs", "rms", "loss"])
def test_what_is_no_effect_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(InputError) as caught:
        check_bound(compared(), "model", name, 1.0, "max")
    assert str(caught.value) == (
        f"no metric of the whole model called {name!r}\n"
        "  there are <SCHEME>.<quantity> with mean_kl, kl_q99, top1_agreement, perplexity, perplexity_ratio"
    )


# A bound in a test


@pytest.mark.parametrize(
    ("sense", "bound", "words"),
    [("max", 8.0, "within the limit 8"), ("max", 7.5, "exceeds the limit 7.5"), ("min", 8.0, "meets the limit 8"),
     ("min", 8.5, "falls below the limit 8.5")],
)  # fmt: skip
def test_a_bound_in_a_test_is_told_as_one_and_names_no_file(
    sense: Literal["max", "min"], bound: float, words: str
) -> None:
    finding = check_bound(holding(8.0), HIDDEN, "max_abs", bound, sense)
    assert finding.message == f"{HIDDEN}: max_abs 8 at sample s0, token 0 't0', channel 0 {words}; {OWN}"
    assert finding.passed == (words.split()[0] in ("within", "meets"))
    stated = finding.limit
    assert (stated.rule, stated.source, stated.file, stated.line) == (OWN, "", "", 0)
    effect = check_bound(compared(), "model", "W8A8.mean_kl", 0.5, "max")
    assert effect.message == f"W8A8.mean_kl 0.125 on 64 tokens of 3 samples within the limit 0.5; {OWN}"


def test_a_name_that_is_no_metric_of_a_site_is_refused_as_such() -> None:
    with pytest.raises(InputError) as caught:
        check_bound(holding(8.0), HIDDEN, "loss", 1.0, "max")
    assert "whole model" not in str(caught.value)
    assert "'loss'" in str(caught.value)
