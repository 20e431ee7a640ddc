"""Every figure of every site of a Record, as plain data: what programs are given, and more than a portrait says."""

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_maxact.numbers.formats import INT8_POLICIES, FormatDistortion
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.numbers.sites import Site
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.record.metrics.distortion import SchemeDistortion
from pytest_maxact.record.metrics.figures import QUANTILES, integer_figures, mean_abs, quantile, rms
from pytest_maxact.record.metrics.scheme import scheme_distortion
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
    changed: Mapping[str, float]
    """Of the residual stream after a layer: the share of its entries that the layer changes, and each of its blocks."""


def figures_of(record: Record) -> tuple[SiteFigures, ...]:
    """In depth order."""
    return tuple(_figures(reading) for reading in record.sites.values())


def _figures(reading: SiteReading) -> SiteFigures:
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
        schemes={}
        if reading.breaks_as_deployed
        else {name: scheme_distortion(reading, name) for name in reading.held.schemes},
        weights=reading.weights,
        peaks=reading.peaks,
        changed=reading.probe.changed if reading.probe else {},
    )
