"""The value of a metric at one site: a reading and a parsed `Metric` in, a number out.

Guard: a site with a non-finite entry has no value that could pass a limit, magnitudes are inf there and errors NaN.
"""

import math
from collections.abc import Callable, Mapping

from pytest_maxact.errors import InputError, MeasureError, setting
from pytest_maxact.numbers.formats import BF16_MAX, FP16_MAX
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.held import Summary
from pytest_maxact.record.metrics.figures import integer_figures, quantile, rms
from pytest_maxact.record.metrics.loudest import loudest
from pytest_maxact.record.metrics.metric import (
    CENTRED_SQNR,
    CHANNEL_RATIO,
    MAX_ABS,
    WEIGHT_SQNR,
    Kind,
    Metric,
    no_metric,
)
from pytest_maxact.record.metrics.scheme import centred_sqnr_db, scheme_distortion
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record


def metric_value(reading: SiteReading, metric: Metric) -> float:
    """The value of a metric at a site: `unreached_experts` is a share, NaN where nothing is routed.

    Raises InputError for a metric that no single site has, and for a figure that a summary did not keep;
    MeasureError where the Record holds nothing of a scheme there.
    """
    if metric.kind not in _VALUES:
        raise _of_no_site(metric)
    figure, broken = _VALUES[metric.kind]
    value = figure(reading, metric)
    return value if broken is None or not reading.nonfinite else broken


def _unreached_share(reading: SiteReading, metric: Metric) -> float:
    routed = len(reading.tokens_per_expert or ())
    return len(reading.unreached_experts) / routed if routed else math.nan


def _changed_share(reading: SiteReading, metric: Metric) -> float:
    """The least that the layer or one of its blocks does. Raises MeasureError where the Record lacks it."""
    if reading.probe is None or not reading.probe.changed:
        raise MeasureError(
            f"{reading.site.name}: the Record holds nothing of what a layer changes there\n"
            "  measure the checkpoint again, or name the residual stream after a layer"
        )
    return min(reading.probe.changed.values())


def _channel_ratio(reading: SiteReading, metric: Metric) -> float:
    """Raises MeasureError where the Record lacks it."""
    kept = reading.held.figures.get(CHANNEL_RATIO.name) if isinstance(reading.held, Summary) else None
    return loudest(reading).ratio if kept is None else kept


def _integer_value(reading: SiteReading, metric: Metric) -> float:
    return float(getattr(integer_figures(reading, metric.policy, metric.bits), metric.quantity))


def _of_no_site(metric: Metric) -> InputError:
    return no_metric(metric.name, f"{metric.scheme} has no {metric.quantity!r}" if metric.scheme else "")


def _scheme_value(reading: SiteReading, metric: Metric) -> float:
    """Raises MeasureError where the Record lacks it."""
    if metric.quantity == "headroom":
        largest = FP16_MAX if SCHEMES[metric.scheme].cast == "float16" else BF16_MAX
        found = max(reading.max_abs, reading.as_deployed or 0.0)
        return largest / found if found else math.inf
    if metric.is_of_weights:
        return _weight_value(reading, metric)
    if metric.quantity == CENTRED_SQNR:
        return math.nan if reading.breaks_as_deployed else centred_sqnr_db(reading, metric.scheme)
    error = scheme_distortion(reading, metric.scheme)
    return math.nan if reading.breaks_as_deployed else float(getattr(error, metric.quantity))


def _weight_value(reading: SiteReading, metric: Metric) -> float:
    """Of the worst weight. Raises MeasureError where the Record lacks it."""
    costs = [found[metric.scheme] for found in reading.weights.values() if metric.scheme in found]
    told = [cost.lowest_db if metric.quantity == WEIGHT_SQNR else cost.flushed for cost in costs]
    values = [value for value in told if value is not None]
    if not values or len(values) < len(told):
        what = f"no {metric.quantity}" if told else "nothing"
        raise MeasureError(
            f"{reading.site.name}: the Record holds {what} of its weights under {metric.scheme}\n"
            f"  measure again with {setting('schemes')} {metric.scheme}"
        )
    if any(math.isnan(value) for value in values):
        return math.nan
    return min(values) if metric.quantity == WEIGHT_SQNR else max(values)


_VALUES: Mapping[Kind, tuple[Callable[[SiteReading, Metric], float], float | None]] = {
    Kind.MAX_ABS: (lambda reading, metric: reading.max_abs, math.inf),
    Kind.LEAST: (lambda reading, metric: reading.max_abs, math.nan),
    Kind.NONFINITE: (lambda reading, metric: float(reading.nonfinite), None),
    Kind.RMS: (lambda reading, metric: rms(reading), math.inf),
    Kind.UNREACHED: (_unreached_share, None),
    Kind.CHANGED: (_changed_share, None),
    Kind.CHANNEL_RATIO: (_channel_ratio, math.inf),
    Kind.QUANTILE: (lambda reading, metric: quantile(reading, metric.q), math.inf),
    Kind.INTEGER: (_integer_value, math.nan),
    Kind.SCHEME: (_scheme_value, None),
}
"""Every kind of metric that a site has: its figure, and what stands for it where an entry is not finite; None where the
figure tells of such entries itself, or is not of the entries.
"""


def beyond_fp16(record: Record) -> list[SiteReading]:
    """Sites that float16 cannot hold, in the corpus or in text as it is deployed: a finite entry above 65 504, or one
    that is not finite already.
    """
    return [
        reading
        for reading in record.sites.values()
        if not (max(metric_value(reading, MAX_ABS), reading.as_deployed or 0.0) <= FP16_MAX)
    ]
