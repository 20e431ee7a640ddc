"""What attention works with, against the limits on it: a Record and a limit in, a finding out, whose words name layer,
head and channel.

Guard: a site without a figure is an error, and what is not finite has none that could pass.
"""

import math
import statistics
from collections.abc import Sequence

from pytest_maxact.errors import InputError, MeasureError, setting, shown
from pytest_maxact.judge.limits.attention import layer_of_logits
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.verdict.bound import holds
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.words import RELATIONS, describe_peak, origin_words
from pytest_maxact.record.logits import LayerLogits
from pytest_maxact.record.metrics.metric import LAYER_RATIO, LOGIT_RATIO
from pytest_maxact.record.record import Record


def is_of_attention(limit: Limit) -> bool:
    """Whether a limit holds a layer, or a head, against the others of the Record."""
    return limit.metric in (LAYER_RATIO, LOGIT_RATIO) or layer_of_logits(limit.site) is not None


def check_attention(record: Record, limit: Limit) -> Finding:
    """Raises MeasureError where the Record holds nothing of it, InputError for another metric of scores."""
    layer = layer_of_logits(limit.site)
    if limit.metric != (LAYER_RATIO if layer is None else LOGIT_RATIO):
        raise InputError(
            f"{limit.site} has no metric {limit.metric}\n"
            f"  there are {LAYER_RATIO} of layers.<i>.k and others, and {LOGIT_RATIO} of layers.<i>.attn_logit"
        )
    value, words = _layer(record, limit.site) if layer is None else _logits(record, layer)
    passed = holds(value, limit)
    stated = f"{RELATIONS['max', passed]} the limit {limit.bound:.6g}; {limit.rule}{origin_words(limit)}"
    reading = record.sites.get(limit.site)
    message = f"{limit.site}: {limit.metric} {value:.6g}, {words}, {stated}"
    return Finding(limit=limit, value=value, passed=passed, reading=reading, message=message)


def _layer(record: Record, site: str) -> tuple[float, str]:
    """A layer's largest entry over the middle one of the other layers', 1 where there are none."""
    reading = record.sites.get(site)
    if reading is None or not reading.count:
        raise _lacking(site)
    others = [
        other.finite_max
        for other in record.sites.values()
        if other.site.kind == reading.site.kind and other is not reading
    ]
    middle = statistics.median(others) if others else reading.finite_max
    where = f" {describe_peak(reading.peaks[0], reading)}" if reading.peaks else ""
    words = f"largest entry {reading.max_abs:.6g}{where}, in the other layers {middle:.6g} (the middle one)"
    return (_ratio(reading.max_abs, middle), words)


def _logits(record: Record, layer: int) -> tuple[float, str]:
    """The largest score of a layer over the middle one of all heads', of those above zero."""
    found = [one for one in record.logits or () if one.layer == layer]
    if not found:
        raise _lacking(f"layers.{layer}.attn_logit")
    largest = max(found, key=lambda one: one.largest)
    middle = _middle([head for one in record.logits or () for head in one.heads])
    return (_ratio(largest.largest, middle), f"{_place(largest)}, the middle one of all heads {middle:.6g}")


def _middle(heads: Sequence[float]) -> float:
    above = [head for head in heads if 0 < head < math.inf]
    return statistics.median(above) if above else 0.0


def _ratio(largest: float, middle: float) -> float:
    if not math.isfinite(largest):
        return math.nan if math.isnan(largest) or largest > 0 else 1.0
    return largest / middle if middle > 0 else math.inf if largest > 0 else 1.0


def _place(one: LayerLogits) -> str:
    of = f" of {one.part}" if one.part else ""
    bound = "" if one.exact else " at most"
    pair = f"token {one.query} {one.query_token!r} to token {one.key} {one.key_token!r}"
    return f"largest score {one.largest:.6g}{bound} in head {one.head}{of}, sample {shown(one.sample)}: {pair}"


def _lacking(site: str) -> MeasureError:
    return MeasureError(f"the Record holds nothing of {site}\n  measure again with {setting('sites')} attention")
