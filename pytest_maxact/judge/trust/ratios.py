"""How far the signal-to-noise ratios of sites can be trusted on other text: sums of samples in, of every ratio the 95 %
interval out. Of a scheme the first that is asked for is taken alone, as a limit on one site asks, and those of all
other sites at once with the second.

Guard: what is kept of samples is rounded, and of sampled tokens where the figure may be of all. So they tell how far
the ends lie from the figure, and never the figure itself. Ends are rounded to a millionth of a decibel, below which
they would hang on the processor and on what is asked for beside them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pytest_maxact.errors import MaxactError
from pytest_maxact.judge.trust.effects import MANY, TrustedFigure
from pytest_maxact.numbers.bootstrap import Bootstrap
from pytest_maxact.numbers.energies import Codes, energies_of
from pytest_maxact.numbers.formats import INT8_POLICIES
from pytest_maxact.numbers.subsets import halves
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.metrics.figures import integer_name
from pytest_maxact.record.metrics.metric import Kind, Metric
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record
from pytest_maxact.record.units import units_of

Floats = npt.NDArray[np.float64]
SQNR = "sqnr_db"
_DECIMALS = 6
_FARTHEST = 60.0
"""In dB from the figure: an end that would lie farther is none, of samples that tell nothing there."""


class Ratios:
    """Of one Record; the same Record and seed give the same."""

    def __init__(self, record: Record, seed: int = 0) -> None:
        self._record = record
        self._units = units_of(replace(record.provenance, shard=None))
        self._are_each = bool(record.provenance.shard) and self._units.are_groups
        """Of a part of a cut each sample's sums are kept: many more than intervals take."""
        self._bootstrap = Bootstrap(self._units.strata, seed)
        self._halves = halves(self._units.strata, seed) if self._units.strata else ()
        self._found: dict[str, dict[str, TrustedFigure | None]] = {}

    def of(self, site: str, metric: Metric) -> TrustedFigure | None:
        """Of a ratio in dB at a site; None where nothing is kept of it by sample, or it is no finite number."""
        found = self._found.setdefault(metric.name, {})
        if site not in found:
            sites = [name for name in self._record.sites if name not in found] if found else [site]
            told = self._told(sites, metric)
            found.update({name: told.get(name) for name in sites})
        return found.get(site)

    @property
    def every(self) -> tuple[TrustedFigure, ...]:
        """Of every site, scheme by scheme."""
        held = [one.held for one in self._record.sites.values() if isinstance(one.held, Distributions)]
        schemes = dict.fromkeys(name for one in held if one.sampled for name in sorted(one.sampled.errors))
        formats = dict.fromkeys(integer_name(policy, 8) for one in held if one.int8 for policy in one.int8.errors)
        metrics = [Metric.parse(f"{name}.{SQNR}") for name in (*schemes, *formats)]
        found = (self.of(site, metric) for site in self._record.sites for metric in metrics)
        return tuple(figure for figure in found if figure is not None)

    def _told(self, sites: Sequence[str], metric: Metric) -> dict[str, TrustedFigure]:
        values: dict[str, float] = {}
        signals, errors = [], []
        for name in sites:
            reading = self._record.sites.get(name)
            kept = _sums(reading, metric) if reading is not None else None
            if reading is None or kept is None:
                continue
            try:
                value = metric_value(reading, metric)
            except MaxactError:
                continue
            if math.isfinite(value):
                values[name] = value
                signals.append(self._of_units(kept[0]))
                errors.append(self._of_units(kept[1]))
        if not values:
            return {}
        above, below = np.stack(errors, 1), np.stack(signals, 1)
        ends = self._bootstrap.intervals(above, below)
        halved = [_ratio(above[part], below[part]) for part in self._halves]
        whole, told = _ratio(above, below), np.count_nonzero(below, axis=0).tolist()
        return {
            name: TrustedFigure(
                name=metric.name, site=name, value=value, samples=self._samples(told[at]),
                low=_moved(value, ends[at][1], whole[at]), high=_moved(value, ends[at][0], whole[at]),
                halves=(_moved(value, halved[0][at], whole[at]), _moved(value, halved[1][at], whole[at])),
            )
            for at, (name, value) in enumerate(values.items())
        }  # fmt: skip

    def _of_units(self, codes: Codes) -> Floats:
        energies = energies_of(codes)
        return np.bincount(self._units.places, energies).astype(np.float64) if self._are_each else energies

    def _samples(self, told: int) -> int:
        """How many tell a figure, of which so many units have any energy: one without has nothing to tell."""
        return self._units.samples if self._units.are_groups and told >= MANY else told


def _sums(reading: SiteReading, metric: Metric) -> tuple[Codes, Codes] | None:
    """Energies of samples and of their errors, by which a figure is made; None where none are kept."""
    held = reading.held
    if not isinstance(held, Distributions):
        return None
    if metric.kind is Kind.INTEGER:
        name = integer_name(metric.policy, metric.bits)
        sums, errors = held.int8, {integer_name(policy, 8): policy for policy in INT8_POLICIES}
        key = errors.get(name, "")
    else:
        sums, key = held.sampled, metric.scheme
    return (sums.signal, sums.errors[key]) if sums is not None and key in sums.errors else None


def _ratio(errors: Floats, signals: Floats) -> Floats:
    """Over samples [samples, sites] -> [sites]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = errors.sum(0) / signals.sum(0)
    return found


def _moved(value: float, ratio: float, whole: float) -> float:
    """A figure in dB whose error over its signal, `whole` by what is kept of samples, is `ratio` instead."""
    if not whole > 0 or math.isnan(ratio):
        return math.nan
    off = -10.0 * math.log10(ratio / whole) if ratio > 0 else math.inf
    return round(value + off, _DECIMALS) if abs(off) <= _FARTHEST else math.copysign(math.inf, off)
