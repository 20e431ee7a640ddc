"""The static scales of an artifact against their limits: what each costs where it was measured in, findings out. One
finding for all of them by each limit, which names the worst, and one of its own for every scale that breaks it.

Guards that a scale is never passed over: where a runtime is told to use static scales and none could be held, or what
one quantizes is not finite, that fails.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from math import isnan, nan
from operator import attrgetter

from pytest_maxact.errors import MeasureError, setting
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.weights import site_of, tensor_of
from pytest_maxact.judge.verdict.bound import holds
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.words import WHICH, origin_words
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.static import CACHE, INPUT
from pytest_maxact.record.metrics.metric import Kind, Metric
from pytest_maxact.record.record import Record
from pytest_maxact.record.static import HeldScale, are_held, unheld, unplaced

_TOLD_BY_REACH = (Kind.STATIC_OVERFLOW, Kind.STATIC_SPARE)
_FIGURES: Mapping[Kind, str] = {
    Kind.STATIC_SQNR: "sqnr_db", Kind.STATIC_LOSS: "loss_db", Kind.STATIC_CLIP: "clip_rate",
    Kind.STATIC_OVERFLOW: "overflow", Kind.STATIC_SPARE: "spare",
}  # fmt: skip
_CALLED: Mapping[str, str] = {INPUT: "inputs", CACHE: "the cache"}
_WORDS: Mapping[Kind, str] = {
    Kind.STATIC_SQNR: "SQNR of {:.1f} dB at it",
    Kind.STATIC_LOSS: "{:.1f} dB lost to the scale that would do",
    Kind.STATIC_CLIP: "a share of {:.3g} of the entries clipped",
    Kind.STATIC_OVERFLOW: "the largest entry is {:.3g} of what it reaches",
    Kind.STATIC_SPARE: "it reaches {:.3g} times the largest entry",
}


def scale_limits(record: Record, limit: Limit) -> list[Limit]:
    """A limit for every scale that breaks the one on all of them."""
    return [
        replace(limit, site=site_of(held.tensor)) for held, value in _values(record, limit.metric)
        if not holds(value, limit)
    ]  # fmt: skip


def unread_calls(record: Record) -> list[str]:
    """Of `input` and `cache` what static scales are called for and no site of which was observed."""
    low_bits = record.provenance.low_bits
    seen = [reading.site for reading in record.observed.values()]
    return [call for call in low_bits.calls if not are_held([call], seen)] if low_bits else []


def scale_remarks(record: Record) -> Iterator[str]:
    """Static scales that nothing was held against, and those that do not reach what was met, whatever limits say."""
    if unread := unread_calls(record):
        yield (
            f"static scales are NOT checked: config.json calls for them for "
            f"{' and '.join(_CALLED[one] for one in unread)}, which were not observed, so that a wrong one passes; "
            f"{setting('sites')} all observes these, and holds each scale to what it quantizes"
        )
    if apart := unplaced(record.provenance.low_bits, record.observed):
        yield (
            f"{counted(len(apart), 'static scale')} {'is' if len(apart) == 1 else 'are'} NOT checked, of what is not "
            f"observed, the first {apart[0]}"
        )
    short = [held for held in record.static or () if held.is_short]
    if short:
        worst = max(short, key=lambda held: held.overflow)
        yield (
            f"{counted(len(short), 'static scale')} of {len(record.static or ())} "
            f"{'does' if len(short) == 1 else 'do'} not reach the largest entry met, the least {_named(worst)}: it "
            f"reaches {worst.reach:.4g}, and {worst.site} {worst.most:.4g}"
        )


def check_scales(record: Record, limit: Limit, waived: Collection[tuple[str | None, str]] = ()) -> Finding:
    """A limit on all static scales, or on one; `waived`: tensors, with the metric of their check, that do not count.

    Raises MeasureError where the Record holds no static scale against anything, or not the one that is meant.
    """
    tensor = tensor_of(limit.site)
    found = [(held, value) for held, value in _values(record, limit.metric) if tensor in (None, held.tensor)]
    if record.static is None or (tensor is not None and not found):
        what = f"static scale {tensor}" if tensor else "static scales"
        raise MeasureError(f"the Record holds no {what} against what was measured\n  measure the checkpoint again")
    left = [(held, value) for held, value in found if (held.tensor, limit.metric.name) not in waived]
    if tensor is None and (lacking := unheld(record.provenance.low_bits, record.observed, record.static)):
        what = " and ".join(_CALLED[one] for one in lacking)
        message = f"static scales: config.json calls for them for {what}, and none is of anything that was read"
        return _finding(limit, nan, passed=False, words=message)
    if not left:
        words = f"static scales: {counted(len(found), 'scale')} waived" if found else "static scales: none tells it"
        return Finding(limit=limit, value=limit.bound, passed=True, reading=None, message=f"{words}; {limit.rule}")
    held, value = min(left, key=lambda one: _rank(one[1], limit))
    passed = holds(value, limit)
    beside = f", {counted(len(found) - len(left), 'scale')} more waived" if len(found) > len(left) else ""
    many = "" if tensor or len(left) == 1 else f", the worst of {counted(len(left), 'static scale')}"
    figure = _WORDS[limit.metric.kind].format(value)
    return _finding(limit, value, passed=passed, words=f"{_named(held)}{many}: {figure}{_told(held, passed)}{beside}")


def _values(record: Record, metric: Metric) -> Iterator[tuple[HeldScale, float]]:
    """Every scale of which a metric is told, with its figure."""
    figure = attrgetter(_FIGURES[metric.kind])
    for held in record.static or ():
        if held.is_told or metric.kind in _TOLD_BY_REACH:
            yield held, figure(held)


def _rank(value: float, limit: Limit) -> float:
    """The worse, the less."""
    return -float("inf") if isnan(value) else value if limit.sense == "min" else -value


def _named(held: HeldScale) -> str:
    layer = f" (layer {held.layer})" if held.layer is not None else ""
    several = f", the largest of {held.scales}" if held.scales > 1 else ""
    return f"{held.tensor}{layer}{several}"


def _told(held: HeldScale, passed: bool) -> str:
    """What else is known, of one that fails: what the scale reaches, what was met, and what would do."""
    if passed:
        return ""
    words = f"; at {held.stated:.4g} ({held.number}) it reaches {held.reach:.4g}, and {held.site} {held.most:.4g}"
    if not held.is_told:
        return words
    bounds = "" if held.exact else " at most"
    return (
        f"{words}: {held.clip_rate:.3g} of its entries are clipped, SQNR {held.sqnr_db:.1f} dB{bounds}; "
        f"a scale of {held.would:.4g} would give {held.would_db:.1f} dB"
    )


def _finding(limit: Limit, value: float, *, passed: bool, words: str) -> Finding:
    relation = WHICH[limit.sense, passed]
    return Finding(
        limit=limit, value=value, passed=passed, reading=None,
        message=f"{words}, which {relation} the limit {limit.bound:.6g}; {limit.rule}{origin_words(limit)}",
    )  # fmt: skip
