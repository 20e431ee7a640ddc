"""What a model predicts, against the limits on it: predictions and a limit in, a finding in words out.

Guard: what was not told passes nothing, and a text that a model does not know is told apart from a model that knows
none.
"""

from collections.abc import Sequence

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.limit import PREDICTIONS, Limit
from pytest_maxact.judge.verdict.bound import holds
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.words import WHICH, origin_words
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.metrics.metric import MARGIN, NONFINITE
from pytest_maxact.record.predictions import QUANTITIES, Predicted, Predictions
from pytest_maxact.record.record import Record

_NEAR = 0.5
"""So close to the shares of tokens, in nats, is a model that finds nothing to predict; one that is broken is further
off, and so is one that takes a text for what it is not.
"""


def check_predictions(record: Record, limit: Limit) -> Finding:
    """One limit on the model's own predictions. Raises MeasureError where the Record does not tell them, InputError for
    a metric that is none of them.
    """
    told = record.predictions
    if limit.metric.name not in QUANTITIES:
        raise InputError(
            f"no metric of {PREDICTIONS} called {limit.metric.name!r}\n  there are {', '.join(QUANTITIES)}"
        )
    if told is None or not told.tokens:
        why = (told.unchecked if told else "") or (
            "no sample of the evaluation split has two tokens" if told else "an earlier version measured it"
        )
        raise MeasureError(
            f"the Record does not tell what the model predicts: {why}\n"
            "  measure again, on a text whose samples have at least two tokens"
        )
    value = QUANTITIES[limit.metric.name](told)
    passed = holds(value, limit)
    message = _nonfinite_words(told) if limit.metric == NONFINITE else _words(told, limit, value, passed)
    return Finding(limit=limit, value=value, passed=passed, reading=None, message=message)


def _nonfinite_words(told: Predictions) -> str:
    if not told.nonfinite:
        return f"{PREDICTIONS}: all {told.tokens} next-token distributions are finite"
    return (
        f"{PREDICTIONS}: the model's own next-token distribution is NaN or infinite at {told.nonfinite} of "
        f"{told.tokens} tokens; see the head, the final norm and the embedding"
    )


def _words(told: Predictions, limit: Limit, value: float, passed: bool) -> str:
    stated = f"{WHICH[limit.sense, passed]} the limit {limit.bound:.6g}; {limit.rule}{origin_words(limit)}"
    if told.nonfinite:
        return f"{PREDICTIONS}: no {limit.metric} to tell, {told.nonfinite} next-token distributions are not finite"
    if limit.metric != MARGIN:
        return f"{PREDICTIONS}: {limit.metric} {value:.6g} on {counted(told.tokens, 'token')}, which {stated}"
    each = ", ".join(f"{one.category} {one.margin:+.2f}" for one in told.categories)
    text = (
        f"{PREDICTIONS}: {value:.2f} nats per token better than the shares of its tokens ({each}; the middle counts), "
        f"which {stated}"
    )
    return text if passed else f"{text}: {diagnosis(told.categories, limit.bound)}"


def diagnosis(categories: Sequence[Predicted], bound: float) -> str:
    """What a model that predicts too little is likely to suffer from, by where it does."""
    known = [one.category for one in categories if one.margin >= bound]
    if known:
        rest = ", ".join(one.category for one in categories if not one.margin >= bound)
        return f"it predicts {', '.join(known)}, and not {rest}, of which it may never have read any"
    if all(abs(one.margin) <= _NEAR for one in categories):
        return (
            "it does about as well as the shares of tokens, as on text that has nothing to predict (ids, digits, "
            "shuffled words); judge it on prose or code"
        )
    return (
        "it predicts none of this text: not trained or not loaded, layers out of order, another model's tokenizer or "
        "rotary base, or text in none of its languages, which the built-in corpus would tell"
    )
