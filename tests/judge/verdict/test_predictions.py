"""Limits on what a model predicts: what was not told passes nothing, and the words tell text that a model does not know
from a model that knows none.
"""

import math
from dataclasses import replace

import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.verdict.check import check, check_bound
from pytest_maxact.record.predictions import Predicted, Predictions
from pytest_maxact.record.record import Record
from tests.support import records
from tests.support.findings import limit

TOKENS = 64


def predicting(nonfinite: int = 0, **margins: float) -> Record:
    """A Record of a model that predicts so many nats per token better than the shares of tokens, by category; of the
    first one, so many distributions are not finite.
    """
    categories = [
        Predicted(category=name, tokens=TOKENS, nonfinite=0, nll=2.0 * TOKENS, unigram=(2.0 + margin) * TOKENS)
        for name, margin in margins.items()
    ]
    categories[0] = replace(categories[0], nonfinite=nonfinite)
    return replace(records.seen(), predictions=Predictions(categories=tuple(categories)))


@pytest.mark.parametrize(("bound", "passes"), [(1.49, True), (1.5, True), (1.51, False), (math.nan, False)])
def test_the_margin_of_the_category_in_the_middle_passes_down_to_its_limit(bound: float, passes: bool) -> None:
    finding = check(predicting(code=4.0, math=1.5, web=-1.0), limit(bound, "predictions", "margin", "min"))
    assert (finding.value, finding.passed, finding.reading) == (1.5, passes, None)


def test_a_margin_that_holds_is_told_category_by_category() -> None:
    finding = check(predicting(code=4.0, math=1.5, web=-0.125), limit(1.0, "predictions", "margin", "min"))
    assert finding.message == (
        "predictions: 1.50 nats per token better than the shares of its tokens (code +4.00, math +1.50, web -0.12; the"
        " middle counts), which meets the limit 1; shape Tiny (limits.yaml:7, a paper)"
    )


TRAINED = (
    "it predicts none of this text: not trained or not loaded, layers out of order, another model's tokenizer or rotary"
    " base, or text in none of its languages, which the built-in corpus would tell"
)
NOTHING_TO_PREDICT = (
    "it does about as well as the shares of tokens, as on text that has nothing to predict (ids, digits, shuffled"
    " words); judge it on prose or code"
)


@pytest.mark.parametrize(
    ("margins", "likely"),
    [
        ((1.0, 0.9, 0.0), "it predicts a, and not b, c, of which it may never have read any"),
        ((-3.0, 1.25, 0.5), "it predicts b, and not a, c, of which it may never have read any"),
        ((3.0, 3.0, -9.0, -9.0), "it predicts a, b, and not c, d, of which it may never have read any"),
        ((0.5, -0.5, 0.5), NOTHING_TO_PREDICT),
        ((0.0, 0.0, 0.0), NOTHING_TO_PREDICT),
        ((0.5, 0.0, 0.75), TRAINED),
        ((0.0, 0.0, -0.75), TRAINED),
        ((-3.0, -3.0, -3.0), TRAINED),
    ],
)
def test_too_small_a_margin_is_told_with_what_is_likely(margins: tuple[float, ...], likely: str) -> None:
    record = predicting(**dict(zip("abcd", margins, strict=False)))
    stated = limit(1.0, "predictions", "margin", "min")
    finding = check(record, stated)
    assert (finding.passed, finding.limit) == (False, stated)
    assert ", which falls below the limit 1; shape Tiny (limits.yaml:7, a paper): " in finding.message
    assert finding.message.endswith(f"paper): {likely}")


def test_a_perplexity_is_told_with_its_tokens() -> None:
    record = predicting(code=4.0, math=1.5)
    low = check(record, limit(7.0, "predictions", "perplexity"))
    assert (low.value, low.passed) == (pytest.approx(math.e**2), False)
    assert low.message == (
        "predictions: perplexity 7.38906 on 128 tokens, which exceeds the limit 7; shape Tiny (limits.yaml:7, a paper)"
    )
    assert check(record, limit(8.0, "predictions", "perplexity")).passed


@pytest.mark.parametrize(("metric", "bound", "sense"), [("margin", -1e9, "min"), ("perplexity", 1e9, "max")])
def test_one_distribution_that_is_not_finite_fails_every_limit(metric: str, bound: float, sense: str) -> None:
    finding = check(predicting(3, code=4.0, math=4.0), limit(bound, "predictions", metric, sense))
    assert not finding.passed
    assert math.isnan(finding.value)
    assert finding.message == f"predictions: no {metric} to tell, 3 next-token distributions are not finite"


def test_what_is_not_finite_is_counted_and_where_to_look_is_said() -> None:
    broken = check(predicting(3, code=4.0, math=4.0), limit(0.0, "predictions", "nonfinite"))
    assert (broken.value, broken.passed) == (3.0, False)
    assert broken.message == (
        "predictions: the model's own next-token distribution is NaN or infinite at 3 of 128 tokens; see the head, the"
        " final norm and the embedding"
    )
    sound = check(predicting(code=4.0, math=4.0), limit(0.0, "predictions", "nonfinite"))
    assert (sound.value, sound.passed) == (0.0, True)
    assert sound.message == "predictions: all 128 next-token distributions are finite"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (None, "an earlier version measured it"),
        (Predictions(), "no sample of the evaluation split has two tokens"),
        (Predictions(unchecked="it has no head"), "it has no head"),
    ],
)
@pytest.mark.parametrize("metric", ["nonfinite", "margin", "perplexity"])
def test_predictions_that_are_not_told_are_no_verdict(metric: str, told: Predictions | None, why: str) -> None:
    with pytest.raises(MeasureError) as caught:
        check(replace(records.seen(), predictions=told), limit(1e9, "predictions", metric))
    assert str(caught.value) == (
        f"the Record does not tell what the model predicts: {why}\n"
        "  measure again, on a text whose samples have at least two tokens"
    )


def test_a_metric_that_predictions_do_not_have_is_refused_with_those_they_have() -> None:
    with pytest.raises(InputError) as caught:
        check_bound(predicting(code=1.0), "predictions", "max_abs", 1.0, "max")
    assert str(caught.value) == ("no metric of predictions called 'max_abs'\n  there are nonfinite, margin, perplexity")
