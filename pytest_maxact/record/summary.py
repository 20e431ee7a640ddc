"""A Record with figures in place of distributions: enough to be judged, shown and compared, in a small part of the
space.

Kept are provenance, effects, counts, the largest entry of every site and where it sat, and whatever figure a report, a
comparison or a shipped limit reads. Dropped are histograms, further peaks, channel maxima, sums of schemes, and every
weight but the worst under each scheme: so a summary cannot be merged or exported, and a figure that was not kept is
refused, never read as a small one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pytest_maxact.errors import MeasureError
from pytest_maxact.numbers.formats import INT8_POLICIES
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.weights import WeightDistortion, by_error, by_flushing, worst_weight
from pytest_maxact.record.held import Entries, Summary
from pytest_maxact.record.metrics.distortion import SCHEME_QUANTITIES, named
from pytest_maxact.record.metrics.figures import (
    QUANTILES,
    integer_figures,
    integer_name,
    mean_abs,
    quantile,
    quantile_name,
    rms,
)
from pytest_maxact.record.metrics.metric import CENTRED_SQNR, CHANNEL_RATIO, Kind, Metric, Of, scheme_metric
from pytest_maxact.record.metrics.scheme import scheme_distortion
from pytest_maxact.record.metrics.smoothing import smoothing_gain
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.reading import SiteReading, distributions_of
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is kept of every site: quantiles, integer formats as (policy, bits), and schemes where the site was measured
    under them.
    """

    quantiles: tuple[float, ...]
    integers: tuple[tuple[str, int], ...]
    schemes: tuple[str, ...]


def summary(record: Record, metrics: Iterable[str] = ()) -> Record:
    """The same Record with figures in place of distributions: those that reports, comparisons and shipped limits read,
    and `metrics`, named as in limits: `int4.clip_q0.99.sqnr_db`. A summary is its own.

    Raises InputError for a metric that there is not, or that a summary did not keep.
    """
    asked = tuple(dict.fromkeys(Metric.parse(metric) for metric in metrics))
    _require_known(record, asked)
    if record.is_summary:
        return record
    wanted = _wanted(record, asked)
    sites = {name: _summed_up(reading, wanted) for name, reading in record.sites.items()}
    scaled = {name: _summed_up(reading, wanted) for name, reading in record.scaled.items()}
    return replace(record, sites=sites, scaled=scaled, token_texts=None)


def _require_known(record: Record, metrics: Iterable[Metric]) -> None:
    for metric in metrics:
        if metric.kind.of is not Of.SITE:
            continue
        for reading in record.sites.values():
            try:
                metric_value(reading, metric)
            except MeasureError:
                continue
            break


def _wanted(record: Record, metrics: Iterable[Metric]) -> _Wanted:
    quantiles = list(QUANTILES)
    integers = [(policy, 8) for policy in (*INT8_POLICIES, "optimal")]
    schemes = list(record.provenance.schemes)
    for metric in metrics:
        if metric.kind is Kind.QUANTILE:
            quantiles.append(metric.q)
        elif metric.kind is Kind.SCHEME and metric.quantity in SCHEME_QUANTITIES:
            schemes.append(metric.scheme)
        elif metric.kind is Kind.INTEGER:
            integers.append((metric.policy, metric.bits))
    return _Wanted(
        quantiles=tuple(dict.fromkeys(quantiles)),
        integers=tuple(dict.fromkeys(integers)),
        schemes=tuple(dict.fromkeys(schemes)),
    )


def _summed_up(reading: SiteReading, wanted: _Wanted) -> SiteReading:
    held = distributions_of(reading)
    return replace(
        reading,
        held=Summary(
            encoding=held.calibration.encoding,
            calibration=_entries(held.calibration),
            evaluation=_entries(held.evaluation),
            schemes=tuple(sorted(held.schemes)),
            has_channels=held.channels is not None,
            figures=_figures(reading, wanted),
        ),
        peaks=reading.peaks[:1],
        weights=_worst(reading.weights),
    )


def _entries(histogram: Histogram) -> Entries:
    return Entries(count=histogram.count, nonfinite=histogram.nonfinite)


def _figures(reading: SiteReading, wanted: _Wanted) -> dict[str, float]:
    found = {"rms": rms(reading), "mean_abs": mean_abs(reading)}
    found |= {quantile_name(q): quantile(reading, q) for q in wanted.quantiles}
    for policy, bits in wanted.integers:
        found |= named(integer_name(policy, bits), integer_figures(reading, policy, bits))
    for name in dict.fromkeys((*wanted.schemes, *reading.held.schemes)):
        try:
            found |= named(name, scheme_distortion(reading, name))
        except MeasureError:
            continue
    gain = smoothing_gain(reading)
    found |= {} if gain is None else {"smoothing_gain_db": gain}
    return found | _of_cache(reading, wanted.schemes)


def _of_cache(reading: SiteReading, schemes: Iterable[str]) -> dict[str, float]:
    """What is told of keys and values alone."""
    metrics = [CHANNEL_RATIO] if reading.site.is_cached else []
    metrics += [scheme_metric(name, CENTRED_SQNR) for name in schemes if SCHEMES[name].cache and reading.site.is_cached]
    found = {}
    for metric in metrics:
        try:
            found[metric.name] = metric_value(reading, metric)
        except MeasureError:
            continue
    return found


def _worst(weights: Mapping[str, Mapping[str, WeightDistortion]]) -> dict[str, dict[str, WeightDistortion]]:
    """Of every scheme the weights that a verdict names, by their error and by what becomes zero, in the order of
    paths.
    """
    schemes = dict.fromkeys(scheme for by_scheme in weights.values() for scheme in by_scheme)
    worst = {
        scheme: {worst_weight(weights, scheme, badness) for badness in (by_error, by_flushing)} for scheme in schemes
    }
    return {
        path: kept
        for path, by_scheme in weights.items()
        if (kept := {name: found for name, found in by_scheme.items() if path in worst[name]})
    }
