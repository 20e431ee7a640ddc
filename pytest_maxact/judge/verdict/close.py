"""The third verdict: a finding in, the same with the interval of its figure out, and told as too close to call where
the interval reaches over the limit.

Fail closed: what is beyond its limit fails however close it is; what keeps it passes with a warning, or fails too under
`close: fail`. A change inside the noise of the measurement is no change, and never too close.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pytest_maxact.judge.compare.noise import band_of, floor_between, floor_words
from pytest_maxact.judge.trust.interval import Interval, IntervalKind
from pytest_maxact.judge.trust.intervals import Intervals
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.severity import worst_of
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.record import Record

WARN, FAIL = "warn", "fail"
WAYS = (WARN, FAIL)
_MOST_TEXT = 1000
"""More than so many times the text is worth no number."""


def with_interval(finding: Finding, intervals: Intervals, baseline: Record | None = None, close: str = WARN) -> Finding:
    """`close`: what becomes of a figure that keeps its limit and is too close to it, `warn` or `fail`."""
    interval, untold = (
        (_of_change(finding, baseline, intervals.record), "")
        if finding.limit.against
        else intervals.of(finding.limit, finding.reading, finding.value)
    )
    limit = finding.limit
    near = not finding.is_noise and interval is not None and interval.overlaps(limit.bound, limit.sense)
    if interval is None or not near:
        return replace(finding, interval=interval, untold=untold)
    fails = finding.passed and close == FAIL
    by = ", which fails here" if fails else ""
    doubt = f"; too close to call{by}: {_words(finding, interval, intervals.record.tokens)}"
    passed, message = finding.passed and not fails, f"{finding.message}{doubt}"
    return replace(finding, interval=interval, close=True, passed=passed, message=message, doubt=doubt)


def is_of_maximum(finding: Finding) -> bool:
    """Whether its interval is that of a maximum, which more text can only raise."""
    kinds = (IntervalKind.MAXIMUM, IntervalKind.MINIMUM)
    return finding.interval is not None and finding.interval.kind in kinds


def close_remarks(findings: Iterable[Finding]) -> Iterator[str]:
    """How many checks hold and are too close to call."""
    near = [finding for finding in findings if finding.close and finding.passed]
    if near:
        yield (
            f"{counted(len(near), 'check')} {'holds' if len(near) == 1 else 'hold'} and "
            f"{'is' if len(near) == 1 else 'are'} too close to call, the nearest {worst_of(near).limit.check}"
        )


def _of_change(finding: Finding, baseline: Record | None, record: Record) -> Interval | None:
    """Where a change would lie when both are measured again."""
    if baseline is None or finding.reading is None or finding.is_noise:
        return None
    floor = floor_between(baseline, record, finding.limit.site)
    band = band_of(finding.value, finding.limit.metric, floor)
    if band is None:
        return None
    words = floor_words(baseline, record, finding.limit.metric, floor)
    meaning = f"measured again, both may move it so far ({words})"
    samples = len(record.provenance.samples)
    return Interval(kind=IntervalKind.REPEATED, low=band[0], high=band[1], samples=samples, meaning=meaning)


def _words(finding: Finding, interval: Interval, tokens: int) -> str:
    """What makes it close, and what would decide; what an interval means in full stands in it."""
    limit = finding.limit
    own = replace(interval, moved=None)
    if interval.kind is IntervalKind.AVERAGE and own.overlaps(limit.bound, limit.sense):
        span = f"95 % interval {interval.low:.4g} to {interval.high:.4g} of {counted(interval.samples, 'sample')}"
        return f"{span}; {_more(finding, interval, tokens)}"
    if limit.against:
        return f"{interval.low:.4g} to {interval.high:.4g}, {interval.meaning}"
    above = finding.limit.bound >= finding.value
    low, high = interval.moved or (interval.low, interval.high)
    end = high if above else low
    if finding.limit.metric.is_in_decibels:
        scaled = above and finding.limit.metric.policy == "max_abs"
        how = ", or under the scale of another calibration split," if scaled else ""
        return f"measured again{how} it may be {end:.4g} dB"
    if above is not _is_inverted(finding):
        return f"measured again it may be {end:.6g}"
    return f"another corpus of this size, or the same again, may give {end:.6g}"


def _is_inverted(finding: Finding) -> bool:
    """Whether it falls where a maximum rises."""
    return finding.limit.metric.quantity == "headroom"


def _more(finding: Finding, interval: Interval, tokens: int) -> str:
    """How much more text would have an interval that ends at the limit, by its width over the root of the samples."""
    value, bound = finding.value, finding.limit.bound
    width = interval.high - value if bound > value else value - interval.low
    factor = (width / (value - bound)) ** 2 if value != bound else math.inf
    if not factor <= _MOST_TEXT:
        return "no amount of text that is worth measuring would decide"
    needed = float(f"{tokens * max(0.0, factor - 1):.2g}")
    return f"some {int(needed)} more tokens of such text would decide, if the figure stays"
