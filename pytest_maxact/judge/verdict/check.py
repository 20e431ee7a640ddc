"""Records against limits: the only comparisons in the program. Everything that shows a verdict shows these findings.

Fail closed: a comparison passes only where it is true of numbers (`not (value <= bound)` fails on NaN), a site with a
non-finite entry has no maximum that could pass, and a limit on a site that the Record lacks is an error.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Literal

from pytest_maxact.errors import InputError, MeasureError, setting
from pytest_maxact.judge.compare.changes import record_change, site_change
from pytest_maxact.judge.compare.noise import floor_between, floor_words, is_noise
from pytest_maxact.judge.limits.limit import CARRIER, HUNT, MODEL, PREDICTIONS, STRESS, Limit
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.limits.weights import WEIGHTS, is_of_weights, tensor_of
from pytest_maxact.judge.trust.intervals import Intervals
from pytest_maxact.judge.verdict.attention import check_attention, is_of_attention
from pytest_maxact.judge.verdict.bound import NEVER_ZERO, RARELY_ZERO, holds
from pytest_maxact.judge.verdict.close import WARN, with_interval
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.predictions import check_predictions
from pytest_maxact.judge.verdict.source import check_departure, is_of_source
from pytest_maxact.judge.verdict.stress import check_hunt, check_stress
from pytest_maxact.judge.verdict.waiving import waived
from pytest_maxact.judge.verdict.weights import check_weights, tensor_limits, with_tensors
from pytest_maxact.judge.verdict.words import (
    RELATIONS,
    WHICH,
    change_words,
    origin_words,
    score_words,
    site_words,
    whole_words,
)
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.comparability import require_alike
from pytest_maxact.record.effect import EFFECTS
from pytest_maxact.record.metrics.metric import MAX_ABS, Kind, Metric
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.record import Record
from pytest_maxact.record.scores import largest_scores, score_headroom


def judge(
    record: Record,
    limits: Iterable[Limit],
    baselines: Mapping[str, Record] | None = None,
    waivers: Iterable[Waiver] = (),
    checkpoint: str = "",
    close: str = WARN,
) -> list[Finding]:
    """A finding for every limit. Raises MeasureError where the Record lacks a limit's site, or there are no limits at
    all.

    `baselines`: the Records that relative limits compare with, by name; `checkpoint`: which one of a series this is,
    for its waivers; `close`: what becomes of figures that are too close to their limits (`close.py`).
    """
    waivers, intervals, known = tuple(waivers), Intervals(record), baselines or {}
    findings = []
    for limit in with_tensors(record, limits):
        baseline = known.get(limit.against)
        told = with_interval(check(record, limit, baseline), intervals, baseline, close)
        findings.append(settled(record, told, waivers, checkpoint))
    return require_any(findings)


def settled(record: Record, finding: Finding, waivers: Iterable[Waiver], checkpoint: str) -> Finding:
    """The finding with the waiver that lets it pass, if any; of all weights, what is let pass of single tensors does
    not count.
    """
    limit = finding.limit
    if limit.site != WEIGHTS or finding.passed:
        return waived(finding, waivers, checkpoint)
    own = (waived(check(record, one), waivers, checkpoint) for one in tensor_limits(record, [limit]))
    return check_weights(
        record, limit, frozenset((tensor_of(one.limit.site), one.limit.metric.name) for one in own if one.waiver)
    )


def require_any(findings: list[Finding]) -> list[Finding]:
    """The findings. Raises MeasureError where there are none: nothing was checked."""
    if not findings:
        raise MeasureError("there are no limits to judge by, so nothing was checked")
    return findings


def check(record: Record, limit: Limit, baseline: Record | None = None) -> Finding:
    """One limit against one Record; a relative limit against it and the baseline."""
    if limit.against:
        return _check_change(record, limit, baseline)
    if is_of_weights(limit.site):
        return check_weights(record, limit)
    if is_of_attention(limit):
        return check_attention(record, limit)
    if limit.site == MODEL:
        return _check_effect(record, limit)
    if limit.site == PREDICTIONS:
        return check_departure(record, limit) if is_of_source(limit.metric) else check_predictions(record, limit)
    if limit.site == STRESS:
        return check_stress(record, limit)
    if limit.site == HUNT:
        return check_hunt(record, limit)
    reading = record.carrier if limit.site == CARRIER else record.sites.get(limit.site)
    if reading is None:
        raise MeasureError(
            f"the Record has no site {limit.site}, for which {limit.file}:{limit.line} sets a limit\n"
            "  measure the checkpoint again"
        )
    if reading.count == 0 or (limit.metric.needs_both_splits and not reading.has_both_splits):
        raise MeasureError(
            f"{reading.site.name}: nothing was counted there, so {limit.metric} is no figure to judge\n"
            "  measure the checkpoint again"
        )
    value = metric_value(reading, limit.metric)
    if limit.metric == MAX_ABS and value == 0.0 and reading.site.kind in NEVER_ZERO | RARELY_ZERO:
        never = "which no sound checkpoint gives; the weights are empty or were not loaded"
        rarely = "the block does nothing: its weights are empty or were not loaded"
        message = f"{reading.site.name}: every entry is zero, {never if reading.site.kind in NEVER_ZERO else rarely}"
        return Finding(limit=limit, value=value, passed=False, reading=reading, message=message)
    passed = holds(value, limit) and not (limit.sense == "min" and reading.nonfinite)
    return Finding(
        limit=limit, value=value, passed=passed, reading=reading, message=site_words(reading, limit, value, passed)
    )


def check_bound(record: Record, site: str, name: str, bound: float, sense: Literal["max", "min"]) -> Finding:
    """A bound of a test's own, on a metric by its name. Raises InputError for a name that is no metric there, as
    `check` does.
    """
    try:
        metric = Metric.parse(name)
    except InputError:
        if site != MODEL:
            raise
        raise _no_effect(name) from None
    limit = Limit(
        site=site, metric=metric, bound=bound, sense=sense, rule="bound in the test", source="", file="", line=0
    )
    return check(record, limit)


def _check_change(record: Record, limit: Limit, baseline: Record | None) -> Finding:
    """A limit on what changed since a baseline."""
    if baseline is None:
        raise MeasureError(
            f"{limit.check}: there is no baseline {limit.against} to compare with\n  give it with {setting('baseline')}"
        )
    require_alike(baseline, record, is_source=limit.of_source)
    if limit.site == MODEL:
        value, reading = record_change(baseline, record, limit.metric, limit.floor), None
        words = whole_words(baseline, record, limit, value)
    else:
        before, reading = baseline.sites.get(limit.site), record.sites.get(limit.site)
        if before is None or reading is None or not before.count or not reading.count:
            raise MeasureError(
                f"{limit.site}: {limit.against if reading is not None else 'the Record'} holds nothing of this site to "
                "compare with\n"
                "  measure it again"
            )
        if limit.metric.needs_both_splits and not (before.has_both_splits and reading.has_both_splits):
            raise MeasureError(
                f"{limit.site}: a split holds nothing of this site, so {limit.metric} is no figure to judge\n"
                "  measure it again"
            )
        value = site_change(before, reading, limit.metric, limit.floor)
        words = change_words(before, reading, limit, value)
    passed = holds(value, limit)
    relation = WHICH[limit.sense, passed]
    stated = f"{relation} the limit {limit.bound:.6g}"
    floor = floor_between(baseline, record, limit.site) if reading and not passed else None
    excused = floor is not None and is_noise(value, limit.metric, floor)
    if floor is not None and excused:
        stated += f" and is inside the noise ({floor_words(baseline, record, limit.metric, floor)})"
    message = f"{words}, which {stated}; {limit.rule}{origin_words(limit)}"
    return Finding(
        limit=limit, value=value, passed=passed or excused, reading=reading, message=message, is_noise=excused
    )


def _check_effect(record: Record, limit: Limit) -> Finding:
    """A limit on what a scheme does to predictions, or on attention scores."""
    if limit.metric.kind is Kind.SCORES:
        return _check_scores(record, limit)
    scheme, quantity = limit.metric.scheme, limit.metric.quantity
    if limit.metric.kind is not Kind.EFFECT:
        raise _no_effect(limit.metric.name)
    effect = record.effects.get(scheme)
    if (record.predictions and record.predictions.nonfinite) or (effect and math.isnan(effect.perplexity)):
        message = "the unquantized model's own predictions are not finite, whatever the scheme"
        return Finding(
            limit=limit, value=math.nan, passed=False, reading=None, message=f"no {limit.metric} to tell: {message}"
        )
    if effect is None:
        raise MeasureError(
            f"the Record holds no effect of {scheme} on "
            f"predictions{f', for which {limit.file}:{limit.line} sets a limit' if limit.file else ''}\n"
            f"  measure again with {setting('effect')} {scheme}"
        )
    value = float(getattr(effect, quantity))
    passed = holds(value, limit)
    relation = RELATIONS[limit.sense, passed]
    message = (
        f"{limit.metric} {value:.4g} on {counted(effect.tokens, 'token')} of {counted(effect.samples, 'sample')}"
        f" {relation} the limit"
        f" {limit.bound:.6g}; {limit.rule}{origin_words(limit)}"
    )
    return Finding(limit=limit, value=value, passed=passed, reading=None, message=message)


def _check_scores(record: Record, limit: Limit) -> Finding:
    """A limit on attention scores. Where no attention was seen, which architectures without it give, the finding says
    so.
    """
    if record.scores is None:
        raise MeasureError(
            f"the Record holds nothing of attention scores, on which {limit.metric} sets a limit\n"
            f"  measure again with {setting('schemes')} {limit.metric.scheme}"
        )
    found = largest_scores(record.scores)
    value = score_headroom(found)
    passed = found is None or holds(value, limit)
    return Finding(
        limit=limit, value=value, passed=passed, reading=None, message=score_words(found, limit, value, passed)
    )


def _no_effect(name: str) -> InputError:
    return InputError(
        f"no metric of the whole model called {name!r}\n  there are <SCHEME>.<quantity> with {', '.join(EFFECTS)}"
    )
