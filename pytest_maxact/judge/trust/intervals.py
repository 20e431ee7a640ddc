"""How far every figure that a limit may bound can be trusted: a Record in, per figure its interval out, or why nothing
tells one; each is taken once, when it is asked for.

Guard: a figure of samples without an interval says why, and never has a small one. What the weights, the files or the
arithmetic give does not come from samples and has neither.
"""

import math
from dataclasses import replace

from pytest_maxact.judge.compare.noise import spread_of
from pytest_maxact.judge.limits.limit import CARRIER, MODEL, PREDICTIONS, Limit
from pytest_maxact.judge.trust.distortion import distortion_interval
from pytest_maxact.judge.trust.effects import MANY, TrustedFigure, trusted_effects
from pytest_maxact.judge.trust.interval import MEAN, Interval, IntervalKind
from pytest_maxact.judge.trust.ratios import Ratios
from pytest_maxact.judge.trust.trust import Floats, magnitudes_of_m
from pytest_maxact.numbers.exceedance import exceeding
from pytest_maxact.numbers.noise import MOST
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.metrics.metric import LAYER_RATIO, LEAST, MAX_ABS, NONFINITE, OF_SOURCE, Kind
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record
from pytest_maxact.record.source import Estimate

_UNTOLD = {
    Kind.RMS: "no sums of single samples are kept of it",
    Kind.QUANTILE: "a quantile, of which nothing is kept by sample",
    Kind.CHANNEL_RATIO: "maxima of channels, of which nothing is kept by sample",
    Kind.LOGIT_RATIO: "scores, of which nothing is kept by sample",
    Kind.SCORES: "scores, of which nothing is kept by sample",
    Kind.UNREACHED: "a count of experts; more text can only reach more of them",
    Kind.CHANGED: "of the few tokens of one sample",
    Kind.MARGIN: "no sums of single samples are kept of it",
    Kind.PERPLEXITY: "no sums of single samples are kept of it",
}
"""Figures of samples of which nothing tells an interval."""
_EARLIER = "an earlier version measured it, which kept no samples of it"
Told = tuple[Interval | None, str]
_NOT_SAMPLED: Told = (None, "")
_SLIM: Told = (None, "the Record is slim and keeps nothing of its samples")


class Intervals:
    """Of one Record."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._is_summary = record.is_summary
        self._effects: dict[str, TrustedFigure] | None = None
        self._maxima: dict[str, Told] = {}
        self._ratios: Ratios | None = None

    def of(self, limit: Limit, reading: SiteReading | None, value: float) -> Told:
        """Of the figure that a limit bounds, `value` at a site or of the whole model: its interval, or why there is
        none; neither where it does not come from samples, or is a change, of which `judge/compare/noise.py` tells.
        """
        if limit.against or limit.metric == NONFINITE:
            return _NOT_SAMPLED
        if not math.isfinite(value):
            return None, "not a finite figure"
        metric = limit.metric
        if metric in (MAX_ABS, LEAST) and reading is not None:
            return self._maximum(limit.site, reading)
        if metric.kind is Kind.SCHEME and metric.quantity == "headroom" and reading is not None:
            return _inverted(self._maximum(limit.site, reading), reading, value)
        if metric == LAYER_RATIO and reading is not None:
            return _scaled(self._maximum(limit.site, reading), value / reading.max_abs if reading.max_abs else 1.0)
        if metric.kind is Kind.EFFECT and limit.site == MODEL:
            return self._effect(metric.name)
        if limit.site == PREDICTIONS and metric.name.startswith(OF_SOURCE):
            return self._departure(metric.name.removeprefix(OF_SOURCE))
        if metric.kind in (Kind.INTEGER, Kind.SCHEME) and not metric.is_of_weights and reading is not None:
            self._ratios = self._ratios or Ratios(self.record)
            return distortion_interval(self.record, reading, metric, value, self._ratios)
        why = _UNTOLD.get(metric.kind, "")
        return (None, why) if why else _NOT_SAMPLED

    def _maximum(self, site: str, reading: SiteReading) -> Told:
        if site not in self._maxima:
            told = _SLIM if self._is_summary else _of_maximum(self.record, site, reading)
            self._maxima[site] = told
        return self._maxima[site]

    def _effect(self, name: str) -> Told:
        if self._effects is None:
            self._effects = {one.name: one for one in trusted_effects(self.record)}
        figure = self._effects.get(name)
        if figure is None:
            quantile = name.endswith("kl_q99")
            return None, "a quantile, of which nothing is kept by sample" if quantile else _EARLIER
        if figure.untold:
            return None, figure.untold
        return Interval(
            kind=IntervalKind.AVERAGE, low=figure.low, high=figure.high, samples=figure.samples, meaning=MEAN
        ), ""

    def _departure(self, name: str) -> Told:
        told = self.record.source.predictions if self.record.source else None
        figure: Estimate | None = told.figures.get(name) if told else None
        if told is None or figure is None or math.isnan(figure.low) or math.isnan(figure.high):
            return None, "no interval"
        if told.samples < MANY:
            return None, f"too few samples: {told.samples}"
        return Interval(
            kind=IntervalKind.AVERAGE, low=figure.low, high=figure.high, samples=told.samples, meaning=MEAN
        ), ""


def _of_maximum(record: Record, site: str, reading: SiteReading) -> Told:
    """From what another corpus of this size reaches nearly always, as `numbers/exceedance.py` states it, to what the
    same text may give when it is measured again.
    """
    magnitudes = magnitudes_of_m(record) if site == CARRIER else _own(reading)
    if magnitudes is None:
        return None, "the Record does not keep which sample had what there"
    found = exceeding(magnitudes)
    if found.again is None:
        return None, f"too few samples: {found.samples}"
    floor = spread_of(record, reading.site.name).within(MOST).max_abs
    low = min(found.again, reading.max_abs / (1 + floor))
    meaning = (
        f"another corpus of this size reaches {found.again:.6g} in {found.reached:.1%} of cases at least, and lies "
        f"above what was found in half of them at most, nobody knows how far; measured again, it moves by {floor:.2%}"
    )
    high, kind = reading.max_abs * (1 + floor), IntervalKind.MAXIMUM
    return Interval(kind=kind, low=low, high=high, samples=found.samples, meaning=meaning), ""


def _own(reading: SiteReading) -> Floats | None:
    held = reading.held
    return held.maxima.magnitudes if isinstance(held, Distributions) and held.maxima is not None else None


def _scaled(told: Told, factor: float) -> Told:
    """Of a figure that is so many times another one."""
    interval, why = told
    if interval is None:
        return told
    return replace(interval, low=interval.low * factor, high=interval.high * factor), why


def _inverted(told: Told, reading: SiteReading, headroom: float) -> Told:
    """Of the range of a format over a maximum, which text as it is deployed may raise."""
    interval, why = told
    if interval is None:
        return told
    deployed = reading.as_deployed or 0.0
    reach = headroom * max(reading.max_abs, deployed)
    low, high = (reach / most if (most := max(end, deployed)) else math.inf for end in (interval.high, interval.low))
    return replace(interval, kind=IntervalKind.MINIMUM, low=low, high=high), why
