"""A finding in words: what was found, where, against which limit from where."""

import math

from pytest_maxact.errors import shown
from pytest_maxact.judge.compare.jumps import first_jump, new_massive_layers
from pytest_maxact.judge.limits.layers import LOWER
from pytest_maxact.judge.limits.limit import CARRIER, Limit
from pytest_maxact.numbers.counted import counted, counted_of
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.numbers.probe import Probe
from pytest_maxact.numbers.sites import ranges
from pytest_maxact.numbers.weights import by_error, by_flushing, worst_weight
from pytest_maxact.record.held import Summary
from pytest_maxact.record.metrics.loudest import loudest
from pytest_maxact.record.metrics.metric import (
    CHANGED,
    CHANNEL_RATIO,
    GROWTH,
    LEAST,
    MASSIVE,
    MAX_ABS,
    NONFINITE,
    RMS,
    SHIFT,
    SHRINK,
    TURN,
    UNREACHED,
    WEIGHT_SQNR,
    Kind,
    Metric,
)
from pytest_maxact.record.metrics.scheme import scheme_distortion
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record
from pytest_maxact.record.scores import LayerScores
from pytest_maxact.settings.userfiles import short_name

RELATIONS = {("max", True): "within", ("max", False): "exceeds", ("min", True): "meets", ("min", False): "falls below"}
WHICH = {**RELATIONS, ("max", True): "is within"}
"""The same as verbs, behind "which"."""


def change_words(before: SiteReading, after: SiteReading, limit: Limit, value: float) -> str:
    place = after.site.name
    if broken := [whose for whose, reading in (("it", after), (limit.against, before)) if reading.nonfinite]:
        return (
            f"{place}: no {limit.metric} to tell, {' and '.join(broken)} {'have' if len(broken) > 1 else 'has'} entries"
            " that are NaN or infinite"
        )
    if limit.metric in (GROWTH, SHRINK):
        did = "grew" if limit.metric == GROWTH else "shrank"
        peak = f" {describe_peak(after.peaks[0], after)}" if after.peaks else ""
        return f"{place}: max_abs {did} {value:.4g} times, from {before.max_abs:.6g} to {after.max_abs:.6g}{peak}"
    if limit.metric == SHIFT:
        return (
            f"{place}: its distribution shifted by {value:.3g}, the rms went from {metric_value(before, RMS):.4g} to"
            f" {metric_value(after, RMS):.4g}"
        )
    if limit.metric == TURN:
        return f"{place}: its outputs turned by {value:.3g}, 1 less the cosine with those of {limit.against}"
    of = limit.metric.of or limit.metric
    return f"{place}: {of} fell by {value:.2f} dB, from {metric_value(before, of):.2f} to {metric_value(after, of):.2f}"


def whole_words(before: Record, after: Record, limit: Limit, value: float) -> str:
    if math.isnan(value):
        return f"no {limit.metric} to tell, the residual stream has entries that are NaN or infinite"
    if limit.metric == MASSIVE:
        new = new_massive_layers(before, after, limit.floor or 0.0)
        return (
            f"{counted(len(new), 'layer', 'meets', 'meet')} the massive-activation criterion anew"
            f"{f' ({ranges(new)})' if new else ''}"
        )
    layers = [
        "none" if (layer := first_jump(record, limit.floor or 0.0)) is None else f"layer {layer}"
        for record in (before, after)
    ]
    return (
        f"the first jump layer went from {layers[0]} to {layers[1]}"
        if value
        else f"the first jump layer stays ({layers[1]})"
    )


def site_words(reading: SiteReading, limit: Limit, value: float, passed: bool) -> str:
    """One line for a person: what was found, where, against which limit from where."""
    place = reading.site.name if limit.site != CARRIER else f"{reading.site.name} (carrier of M)"
    relation = RELATIONS[limit.sense, passed]
    stated = f"{limit.bound:.6g}"
    if limit.figure is not None and limit.headroom is not None and (limit.of_layer or limit.headroom != 1.0):
        whose = "the layer's own figure " if limit.of_layer else ""
        margin = f" {_margin(limit, limit.headroom)}" if limit.headroom != 1.0 else ""
        stated += f" ({whose}{limit.figure:g}{margin})"
    if limit.metric == NONFINITE:
        text = f"{place}: {counted(int(value), 'non-finite entry')} of {reading.count}"
        if reading.first_nonfinite:
            first = reading.first_nonfinite
            text += f", first in sample {shown(first.sample)}, token {first.position} {first.token!r}"
            text += f", channel {first.channel}"
        return text
    if limit.metric == UNREACHED:
        found = f"no token reached {describe_unreached(reading)}, a share of {value:.4g}"
        stated = f"which {WHICH[limit.sense, passed]} the limit {stated}; {limit.rule}{origin_words(limit)}"
        return f"{place}: {found}, {stated}"
    if limit.metric == CHANGED and reading.probe:
        return _changed_words(
            reading,
            reading.probe,
            f"{WHICH[limit.sense, passed]} the limit {stated}; {limit.rule}{origin_words(limit)}",
        )
    if reading.nonfinite:
        return (
            f"{place}: no {limit.metric} to hold against {stated},"
            f" {counted(reading.nonfinite, 'entry', 'is', 'are')} NaN or infinite;"
            f" {limit.rule}{origin_words(limit)}"
        )
    if limit.metric == CHANNEL_RATIO:
        stated = f"which {WHICH[limit.sense, passed]} the limit {stated}; {limit.rule}{origin_words(limit)}"
        return f"{place}: {_channel_words(reading, value)}, {stated}"
    found = f"{value:.6g}"
    where = (
        f" {describe_peak(reading.peaks[0], reading)}"
        if limit.metric in (MAX_ABS, LEAST) and reading.peaks
        else _scheme_words(reading, limit.metric)
    )
    metric = MAX_ABS if limit.metric == LEAST else limit.metric
    if limit.metric in LOWER and limit.figure is not None and not passed:
        stated += ", implausibly small: not trained, or not loaded"
    return f"{place}: {metric} {found}{where} {relation} the limit {stated}; {limit.rule}{origin_words(limit)}"


def _channel_words(reading: SiteReading, value: float) -> str:
    """The channel that stands out, by head; of a slim Record the largest entry, which is its own as a rule."""
    if isinstance(reading.held, Summary):
        peak = f", the largest entry {describe_peak(reading.peaks[0], reading)}" if reading.peaks else ""
        return f"a channel reaches {value:.4g} times the middle one of its head or layer{peak}"
    found = loudest(reading)
    head = f"head {found.head}, " if found.head is not None else ""
    part = f" of {found.part}" if found.part else ""
    channels = " and ".join(f"channel {channel}" for channel in sorted((found.channel, *found.beside)))
    return (
        f"{head}{channels}{part} reach{'' if found.beside else 'es'} {found.largest:.6g}, {value:.4g} times the middle"
        f" channel of its head or layer ({found.middle:.4g})"
    )


def _margin(limit: Limit, headroom: float) -> str:
    if limit.sense == "max":
        return f"x {headroom:g}"
    return f"less {20 * math.log10(headroom):.2f} dB" if limit.metric.is_in_decibels else f"/ {headroom:g}"


def _changed_words(reading: SiteReading, probe: Probe, stated: str) -> str:
    """The part of a layer that does least, in the words of what stands in a block's place."""
    part, share = min(probe.changed.items(), key=lambda entry: entry[1])
    what = "the layer changes" if part == "layer" else f"the block behind {part} changes"
    return (
        f"{reading.site.name}: {what} {share:.2%} of the residual stream's entries (first"
        f" {counted(probe.tokens, 'token')} of "
        f"{probe.sample}), which {stated}"
    )


def _scheme_words(reading: SiteReading, metric: Metric) -> str:
    """What stands behind a figure of a scheme: the worst weight, or the sample it was estimated from."""
    if metric.kind is not Kind.SCHEME or metric.quantity == "headroom":
        return ""
    if metric.is_of_weights:
        path = worst_weight(reading.weights, metric.scheme, by_error if metric.quantity == WEIGHT_SQNR else by_flushing)
        refused = reading.weights[path][metric.scheme].refused
        return f" in {path}" + (f" ({refused})" if refused else "")
    error = scheme_distortion(reading, metric.scheme)
    if not error.tokens or (error.sqnr_error_db == 0.0 and metric.quantity == "sqnr_db"):
        return ""
    spread = f", standard error {error.sqnr_error_db:.2f} dB" if metric.quantity == "sqnr_db" else ""
    return f" (of {counted(error.tokens, 'sampled token')}{spread})"


def score_words(found: LayerScores | None, limit: Limit, value: float, passed: bool) -> str:
    if found is None:
        return f"attention scores unchecked: no attention was seen in this architecture{origin_words(limit)}"
    how = (
        f"reach {found.largest:.6g}"
        if found.exact
        else f"{'stay below' if passed else 'cannot be told to stay within the range, their bound is'}"
        f" {found.largest:.6g}"
    )
    return (
        f"attention scores {how} in layer {found.layer} before they are scaled: {limit.metric} {value:.6g}"
        f" {RELATIONS[limit.sense, passed]} the limit {limit.bound:.6g}; {limit.rule}{origin_words(limit)}"
    )


def origin_words(limit: Limit) -> str:
    """Where a limit is written, and what it was taken from, in brackets; empty for a bound in a test."""
    written = f"{short_name(limit.file)}:{limit.line}" if limit.file else ""
    parts = [part for part in (written, limit.source) if part]
    return f" ({', '.join(parts)})" if parts else ""


def describe_unreached(reading: SiteReading) -> str:
    """The experts that no token reached, eight at most by number: `3 of 128 experts (5, 17, 90)`."""
    missed = reading.unreached_experts
    named = ", ".join(map(str, missed[:8])) + (", ..." if len(missed) > 8 else "")
    return f"{counted_of(len(missed), len(reading.tokens_per_expert or ()), 'expert')}{f' ({named})' if missed else ''}"


def describe_peak(peak: Peak, reading: SiteReading | None = None) -> str:
    """Where a peak sat: `at sample math-07, token 0 'The', channel 318`; of heads side by side `head 2, channel 62`."""
    channel = f"channel {peak.channel}"
    if reading and reading.heads:
        head, own = divmod(peak.channel, reading.width // reading.heads)
        channel = f"head {head}, channel {own}"
    part = f" of {peak.part}" if peak.part else ""
    if not peak.sample:
        return f"at {channel}{part}"
    return f"at sample {shown(peak.sample)}, token {peak.position} {peak.token!r}, {channel}{part}"
