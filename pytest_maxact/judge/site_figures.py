"""Every figure of every site of a Record, as plain data: what programs are given, and more than a portrait says."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pytest_maxact.errors import MeasureError
from pytest_maxact.numbers.formats import INT8_POLICIES, FormatDistortion
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.sites import Site, kept_in_cache
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.record.metrics.distortion import SchemeDistortion
from pytest_maxact.record.metrics.figures import QUANTILES, integer_figures, mean_abs, quantile, rms
from pytest_maxact.record.metrics.metric import CENTRED_SQNR, CHANNEL_RATIO, Metric, scheme_metric
from pytest_maxact.record.metrics.scheme import scheme_distortion
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFigures:
    """One site. `max_abs` is inf where an entry is not finite; the other figures are of the finite entries, so `int8`
    and `schemes` are figures of nothing there. `quantiles` by share, `int8` by policy, `weights` by path and scheme.
    """

    site: Site
    dtype: str
    width: int
    count: int
    max_abs: float
    finite_max: float
    nonfinite: int
    rms: float
    mean_abs: float
    quantiles: Mapping[float, float]
    massive: Massive | None
    tokens_per_expert: tuple[int, ...] | None
    int8: Mapping[str, FormatDistortion]
    schemes: Mapping[str, SchemeDistortion]
    weights: Mapping[str, Mapping[str, WeightDistortion]]
    peaks: tuple[Peak, ...]
    cached: Mapping[str, float]
    """Of keys and values that a cache keeps, by names of metrics: the loudest channel, and errors about the mean."""
    changed: Mapping[str, float]
    """Of the residual stream after a layer: the share of its entries that the layer changes, and each of its blocks."""


def figures_of(record: Record) -> tuple[SiteFigures, ...]:
    """In depth order."""
    kept = {site.name for site in kept_in_cache(reading.site for reading in record.sites.values())}
    caches = [name for name in record.provenance.schemes if SCHEMES[name].cache]
    return tuple(_figures(reading, caches if name in kept else ()) for name, reading in record.sites.items())


def _told(reading: SiteReading, metrics: Iterable[Metric]) -> dict[str, float]:
    """By their names, those that the Record has."""
    found = {}
    for metric in metrics:
        with suppress(MeasureError):
            found[metric.name] = metric_value(reading, metric)
    return found


def _schemes(reading: SiteReading, caches: Sequence[str]) -> dict[str, SchemeDistortion]:
    found = {}
    for name in () if reading.breaks_as_deployed else dict.fromkeys((*reading.held.schemes, *caches)):
        with suppress(MeasureError):
            found[name] = scheme_distortion(reading, name)
    return found


def _figures(reading: SiteReading, caches: Sequence[str]) -> SiteFigures:
    return SiteFigures(
        site=reading.site,
        dtype=reading.dtype,
        width=reading.width,
        count=reading.count,
        max_abs=reading.max_abs,
        finite_max=reading.finite_max,
        nonfinite=reading.nonfinite,
        rms=rms(reading),
        mean_abs=mean_abs(reading),
        quantiles={q: quantile(reading, q) for q in QUANTILES},
        massive=reading.massive,
        tokens_per_expert=reading.tokens_per_expert,
        int8={policy: integer_figures(reading, policy) for policy in INT8_POLICIES},
        schemes=_schemes(reading, caches),
        cached=_told(reading, [CHANNEL_RATIO, *(scheme_metric(name, CENTRED_SQNR) for name in caches)])
        if caches
        else {},
        weights=reading.weights,
        peaks=reading.peaks,
        changed=reading.probe.changed if reading.probe else {},
    )
