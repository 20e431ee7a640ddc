"""How far a signal-to-noise ratio of a site can be trusted: a reading and the metric in, an interval in dB out, or why
there is none.

Where sums of samples are kept (`ratios`) it is the 95 % interval of other text to evaluate on, and beside it stands
how far other causes move it: the same text measured again, and a scale from the calibration maximum, which hangs on few
samples; under the scale that another calibration reaches nearly always it would be better. Where none are kept these
causes are the interval, for a scheme whose rows are sampled with how far the figure of all tokens of this text may lie
from it, and the meaning says that other text is no part of it.
"""

import math
from dataclasses import replace

from pytest_maxact.errors import MaxactError
from pytest_maxact.judge.compare.noise import spread_of
from pytest_maxact.judge.trust.interval import MEAN, Interval, IntervalKind
from pytest_maxact.judge.trust.ratios import SQNR, Ratios
from pytest_maxact.numbers.exceedance import exceeding
from pytest_maxact.numbers.formats import scaled_integers
from pytest_maxact.numbers.noise import MOST
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.metrics.metric import Kind, Metric
from pytest_maxact.record.metrics.scheme import scheme_distortion
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record

REL_RMSE = "rel_rmse"
_ERRORS = 1.96
"""Standard errors to either side that hold 95 of 100."""


def distortion_interval(
    record: Record, reading: SiteReading, metric: Metric, value: float, ratios: Ratios
) -> tuple[Interval | None, str]:
    """Of a figure of a format or scheme at a site; `ratios` of its Record. The relative error is the same figure as the
    ratio, and has the same interval.
    """
    if metric.quantity == REL_RMSE and value > 0:
        of = Metric.parse(f"{metric.name.removesuffix(REL_RMSE)}{SQNR}")
        interval, why = distortion_interval(record, reading, of, -20.0 * math.log10(value), ratios)
        return (_as_error(interval) if interval else None), why
    if metric.quantity != SQNR:
        return None, "of it no sums of single samples are kept"
    noise = spread_of(record, reading.site.name).within(MOST).sqnr_db
    low, high, words = value - noise, value + noise, f"measured again, it moves by {noise:.3g} dB"
    figure = ratios.of(reading.site.name, metric)
    if (
        (figure is None or not figure.holds)
        and metric.kind is Kind.SCHEME
        and (error := _sampling_error(reading, metric.scheme))
    ):
        low, high = low - _ERRORS * error, high + _ERRORS * error
        words += f"; all tokens of this text give a figure within {_ERRORS * error:.3g} dB of it in 95 of 100 cases"
    if metric.kind is Kind.INTEGER and metric.policy == "max_abs":
        steadier = _under_another_scale(record, reading, metric.bits)
        if steadier is not None and steadier[0] > value:
            best, reached = steadier
            high = max(high, best + noise)
            words += (
                f"; the scale that another calibration split of this size exceeds in {reached:.1%} of cases at least "
                f"gives {best:.4g} dB"
            )
    if figure is not None and figure.holds:
        return Interval(
            kind=IntervalKind.AVERAGE, low=figure.low, high=figure.high, samples=figure.samples,
            meaning=f"{MEAN}; {words}", moved=(low, high),
        ), ""  # fmt: skip
    why = f" ({figure.untold})" if figure is not None else ""
    words += f"; other text to evaluate on is no part of it{why}"
    samples, kind = len(record.provenance.samples), IntervalKind.REPEATED
    return Interval(kind=kind, low=low, high=high, samples=samples, meaning=words), ""


def _as_error(interval: Interval) -> Interval:
    """Of the relative error whose ratio in dB has this one."""
    low, high = _errors(interval.low, interval.high)
    return replace(interval, low=low, high=high, moved=interval.moved and _errors(*interval.moved))


def _errors(low: float, high: float) -> tuple[float, float]:
    return 10.0 ** (-high / 20.0), 10.0 ** (-low / 20.0)


def _sampling_error(reading: SiteReading, scheme: str) -> float:
    """In dB, 0 where all tokens were seen."""
    try:
        error = scheme_distortion(reading, scheme).sqnr_error_db
    except MaxactError:
        return 0.0
    return error if math.isfinite(error) else 0.0


def _under_another_scale(record: Record, reading: SiteReading, bits: int) -> tuple[float, float] | None:
    """The SQNR under the smaller scale of another calibration, and in what share of cases it is larger at least; None
    where too few samples tell.
    """
    held = reading.held
    if not isinstance(held, Distributions) or held.maxima is None:
        return None
    of_calibration = [split == "calibration" for _, _, split, _ in record.provenance.samples]
    magnitudes = held.maxima.magnitudes[of_calibration]
    if not len(magnitudes):
        return None
    found = exceeding(magnitudes)
    if found.again is None or not found.again > 0:
        return None
    return scaled_integers(held.evaluation, found.again, bits, "max_abs").sqnr_db, found.reached
