"""An artifact against its source: a Record that compared the two and a limit in, a finding in words out. One finding
for all weights by each of their figures, one of its own for every tensor that breaks it, and one for each figure of
predictions, with its interval and beside the noise floor.

Guards that what was not compared passes nothing.
"""

import math
from collections.abc import Collection, Mapping

from pytest_maxact.errors import InputError, MeasureError, setting
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.weights import tensor_of
from pytest_maxact.judge.trust.departed import believed
from pytest_maxact.judge.verdict.bound import holds, within
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.words import WHICH, origin_words
from pytest_maxact.numbers.against import LISTED, KeptWeight, LowWeight
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.metrics.metric import (
    OF_SOURCE,
    SOURCE_CHANGED,
    SOURCE_GROUP_LOSS,
    SOURCE_LOSS,
    SOURCE_OUTLYING,
    SOURCE_RESCALED,
    SOURCE_UNMATCHED,
    Metric,
)
from pytest_maxact.record.record import Record
from pytest_maxact.record.source import AgainstSource, Estimate

_NAMED = 3
_COUNTED = (SOURCE_CHANGED, SOURCE_UNMATCHED)
_METRICS = (SOURCE_LOSS, SOURCE_OUTLYING, SOURCE_GROUP_LOSS, SOURCE_RESCALED, *_COUNTED)


def is_of_source(metric: Metric) -> bool:
    """Whether a metric, of weights or of predictions, is against the source's."""
    return metric.name.startswith(OF_SOURCE)


def source_faults(record: Record, limit: Limit) -> list[str]:
    """Tensors that break a limit on all weights."""
    return [] if record.source is None else list(_breaking(record.source, limit))


def own_bound(limit: Limit) -> float:
    """What one tensor is held to where all are held to a limit."""
    return 0.0 if limit.metric in _COUNTED else limit.bound


def check_source_weights(record: Record, limit: Limit, waived: Collection[tuple[str | None, str]] = ()) -> Finding:
    """A limit on all weights, or on one tensor; `waived`: those that a waiver lets pass, each with its metric. Raises
    MeasureError where nothing was compared.
    """
    found = _required(record, limit)
    if limit.metric not in _METRICS:
        raise InputError(
            f"no metric of weights called {limit.metric.name!r}\n  there are {', '.join(map(str, _METRICS))}"
        )
    tensor = tensor_of(limit.site)
    if tensor is not None:
        unlisted = math.nan if _hidden(found, limit) else 0.0
        value, words = _figures(found, limit.metric).get(tensor, unlisted), _tensor_words(found, tensor, limit.metric)
        return _finding(limit, value, holds(value, limit), words)
    breaking = _breaking(found, limit)
    left = {name: value for name, value in breaking.items() if (name, limit.metric.name) not in waived}
    figures = _figures(found, limit.metric)
    value = _whole(
        limit.metric, {name: value for name, value in figures.items() if name in left or name not in breaking}
    )
    beside = f", {counted(len(breaking) - len(left), 'tensor')} more waived" if len(left) < len(breaking) else ""
    if hidden := _hidden(found, limit):
        value = value if left else math.nan
        key = f"max_{limit.metric.name.removeprefix(OF_SOURCE)}"
        beside += (
            f"; {counted(hidden, 'weight')} more, not kept by name, may break it too: where so many are to pass, "
            f"say it by a limit on all of them (artifact: {key}), not by waivers"
        )
    passed = holds(value, limit)
    return _finding(limit, value, passed, f"weights: {_whole_words(found, limit, value, passed, left)}{beside}")


def check_departure(record: Record, limit: Limit) -> Finding:
    """A limit on predictions against the source's. Raises MeasureError where they were not compared."""
    found = believed(_required(record, limit))
    told, name = found.predictions, limit.metric.name.removeprefix(OF_SOURCE)
    if told is None or name not in told.figures:
        raise MeasureError(
            f"the Record does not tell {limit.metric} against {found.name}: "
            f"{found.unpredicted or 'predictions were not compared'}\n  measure the checkpoint again"
        )
    if told.nonfinite:
        where = f"{told.nonfinite} of {counted(told.tokens, 'token')}"
        words = f"predictions: no {limit.metric} to tell, a next-token distribution is NaN or infinite at {where}"
        return _finding(limit, math.nan, False, words)
    value = told.figures[name].value
    passed = holds(value, limit)
    words = f"predictions: {limit.metric} {_estimate_words(told.figures[name])} on {counted(told.tokens, 'token')}"
    noise = found.noise
    floor = f", the source against itself {noise.figures[name].value:.4g}" if noise else ""
    return _finding(
        limit, value, passed, f"{words}{floor}, which {WHICH[limit.sense, passed]} the limit {limit.bound:.6g}"
        f"{_open_words(told.figures[name], limit)}"
    )  # fmt: skip


def _required(record: Record, limit: Limit) -> AgainstSource:
    if record.source is None:
        stated = f", for which {limit.file}:{limit.line} sets a limit" if limit.file else ""
        raise MeasureError(
            f"the Record compares nothing with a source{stated}\n"
            f"  measure the artifact again with {setting('source')} and the checkpoint it was made from"
        )
    return record.source


def _finding(limit: Limit, value: float, passed: bool, words: str) -> Finding:
    message = f"{words}; {limit.rule}{origin_words(limit)}"
    return Finding(limit=limit, value=value, passed=passed, reading=None, message=message)


def _estimate_words(figure: Estimate) -> str:
    if math.isnan(figure.low):
        return f"{figure.value:.4g}"
    return f"{figure.value:.4g} (95 % {figure.low:.4g} to {figure.high:.4g})"


def _open_words(figure: Estimate, limit: Limit) -> str:
    """What is said where another text might have given the other verdict."""
    ends = [within(end, limit.bound, limit.sense) for end in (figure.low, figure.high)]
    return ", and lies within the interval" if ends[0] != ends[1] and not math.isnan(figure.low) else ""


def _figures(found: AgainstSource, metric: Metric) -> dict[str, float]:
    """By tensor, of those that were kept by name."""
    weights = found.weights
    if metric == SOURCE_CHANGED:
        return {name: float(kept.differing) for name, kept in weights.changed.items()}
    if metric == SOURCE_UNMATCHED:
        return dict.fromkeys(weights.unmatched, 1.0)
    if metric == SOURCE_OUTLYING:
        return {name: weights.outlying_db(name) for name in weights.lows}
    return {name: _figure(low, metric) for name, low in weights.lows.items()}


def _figure(low: LowWeight, metric: Metric) -> float:
    if metric == SOURCE_LOSS:
        return low.loss_db
    return low.rescaled if metric == SOURCE_RESCALED else low.group_loss_db


def _breaking(found: AgainstSource, limit: Limit) -> dict[str, float]:
    """The tensors that break a limit, furthest first; of counted ones all, where there are more than may be."""
    figures = _figures(found, limit.metric)
    if limit.metric in _COUNTED:
        return figures if not holds(float(len(figures)), limit) else {}
    broken = {name: value for name, value in figures.items() if not within(value, limit.bound, limit.sense)}
    return dict(sorted(broken.items(), key=lambda one: (not math.isnan(one[1]), -one[1])))


def _hidden(found: AgainstSource, limit: Limit) -> int:
    """Weights that are not kept by name and may break a limit: some where all those kept for their figure do."""
    full = limit.metric not in _COUNTED and len(_breaking(found, limit)) >= LISTED
    return found.weights.low - len(found.weights.lows) if full else 0


def _whole(metric: Metric, figures: Mapping[str, float]) -> float:
    """Of all tensors: how many, or the worst."""
    if metric in _COUNTED:
        return float(len(figures))
    return math.nan if any(map(math.isnan, figures.values())) else max(figures.values(), default=0.0)


def _whole_words(found: AgainstSource, limit: Limit, value: float, passed: bool, left: Mapping[str, float]) -> str:
    weights = found.weights
    named = ", ".join(list(left)[:_NAMED]) + (", ..." if len(left) > _NAMED else "")
    if limit.metric == SOURCE_CHANGED:
        if not value:
            return f"{counted(weights.kept, 'tensor')} in 16 bits are those of {found.name}"
        return f"{counted(int(value), 'tensor')} of {weights.kept} in 16 bits are not those of {found.name}: {named}"
    if limit.metric == SOURCE_UNMATCHED:
        if not value:
            return f"neither the artifact nor {found.name} has a tensor that the other lacks"
        return f"{counted(int(value), 'tensor')} that the artifact or {found.name} lacks: {named}"
    lose, are = ("loses", "is") if weights.low == 1 else ("lose", "are")
    usual = f"twice what half of them do ({weights.usual_loss_db:.2f} dB)"
    what = {
        SOURCE_LOSS: f"{lose} at most {value:.2f} dB over what rounding {found.name} gives",
        SOURCE_OUTLYING: f"{lose} at most {value:.2f} dB beyond {usual}",
        SOURCE_GROUP_LOSS: f"{lose} at most {value:.2f} dB in any group over what rounding {found.name} gives there",
        SOURCE_RESCALED: f"{are} larger or smaller than {found.name} rounded by at most {value:.2%}",
    }[limit.metric]
    which = f": {named}" if left else ""
    relation = WHICH[limit.sense, passed]
    return f"{counted(weights.low, 'weight')} in low bits {what}, which {relation} the limit {limit.bound:.6g}{which}"


def _tensor_words(found: AgainstSource, name: str, metric: Metric) -> str:
    weights = found.weights
    if metric == SOURCE_UNMATCHED:
        return f"{name}: {weights.unmatched.get(name, 'the source has it too')}"
    if metric == SOURCE_CHANGED:
        kept = weights.changed.get(name)
        return f"{name}{_place(kept)}: {_kept_words(kept)}" if kept else f"{name}: the source's to the bit"
    low = weights.lows.get(name)
    if low is None:
        return f"{name}: not among the weights kept by name"
    form = low.form.rpartition(" ")[2]
    if metric == SOURCE_LOSS:
        what = (
            f"SQNR {low.sqnr_db:.2f} dB against {found.name}, where rounding it to {form} gives "
            f"{low.expected_db:.2f} dB; other weights, rows in another order, or scales that are not theirs"
        )
    elif metric == SOURCE_OUTLYING:
        what = (
            f"loses {low.loss_db:.2f} dB over rounding {found.name} to {form}, where half of the weights lose at most "
            f"{weights.usual_loss_db:.2f} dB; it was made of another checkpoint's"
        )
    elif metric == SOURCE_GROUP_LOSS:
        what = (
            f"{low.group} lose {low.group_loss_db:.2f} dB over rounding {found.name} to {form} there; a scale that "
            "is not theirs"
        )
    else:
        what = f"{low.rescaled:.2%} larger or smaller than {found.name} rounded to {form}; it was scaled as a whole"
    return f"{name}{_place(low)}: {what}"


def _kept_words(kept: KeptWeight) -> str:
    if kept.what:
        return kept.what
    return (
        f"{kept.differing} of {counted(kept.entries, 'entry')} in 16 bits are not the source's, SQNR "
        f"{kept.sqnr_db:.2f} dB; another checkpoint's, or scaled for its neighbours as AWQ and SmoothQuant do"
    )


def _place(weight: LowWeight | KeptWeight) -> str:
    parts = [f"layer {weight.layer}"] if weight.layer is not None else []
    parts += [f"expert {weight.expert}"] if weight.expert is not None else []
    return f" ({', '.join(parts)})" if parts else ""
