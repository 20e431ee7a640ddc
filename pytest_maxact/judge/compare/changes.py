"""How far a checkpoint is from a baseline: the figures that relative limits bound. No torch.

Every figure is one that may not be large, and NaN or infinite where either side has no finite value to compare: no
bound holds then by accident. A floor keeps noise on values that nobody minds from counting.
"""

import math

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.compare.jumps import jump_shift, new_massive_layers, stream
from pytest_maxact.numbers.distance import distance
from pytest_maxact.numbers.probe import turn
from pytest_maxact.numbers.ratio import ratio
from pytest_maxact.record.metrics.metric import GROWTH, JUMP, MASSIVE, SHIFT, SHRINK, TURN, Metric
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record


def site_change(before: SiteReading, after: SiteReading, metric: Metric, floor: float | None) -> float:
    """The change of one site under a relative metric: `growth` and `shrink` are factors of the largest magnitude,
    `shift` is a share in [0, 1], `<metric>.drop` a loss in its unit.

    Raises InputError for a name that is none of these.
    """
    if metric == GROWTH:
        return growth(before.max_abs, after.max_abs, floor or 0.0)
    if metric == SHRINK:
        # nothing but zeros is a block that died, however small it was
        return math.inf if after.max_abs == 0 < before.max_abs else growth(after.max_abs, before.max_abs, floor or 0.0)
    if metric == SHIFT:
        return shift(before, after)
    if metric == TURN:
        return turn_of(before, after)
    if of := metric.of:
        return drop(metric_value(before, of), metric_value(after, of), math.inf if floor is None else floor)
    raise InputError(
        f"no relative metric called {metric.name!r}\n  there are {GROWTH}, {SHRINK}, {SHIFT}, {TURN} and <metric>.drop"
    )


def growth(before: float, after: float, floor: float) -> float:
    """Their `ratio`, magnitudes below `floor` taken as `floor`."""
    if not (math.isfinite(before) and math.isfinite(after)):
        return math.nan  # a floor must not lift what is no magnitude
    return ratio(max(before, floor), max(after, floor))


def shift(before: SiteReading, after: SiteReading) -> float:
    """The largest difference between the shares of entries up to a magnitude, over all magnitudes: the distance of
    Kolmogorov and Smirnov.

    Twice the spread of a normal distribution is 0.33. NaN where either side holds entries that are not finite, or none
    at all.
    """
    one, other = before.histogram, after.histogram
    if one.nonfinite or other.nonfinite or not one.count or not other.count:
        return math.nan
    return distance(one, other)


def turn_of(before: SiteReading, after: SiteReading) -> float:
    """How far a block's outputs on the probe point away from those before, from 0 to 2: 1 less the cosine. Those of a
    block in another one's place have nothing in common with its own, and give 1. Raises MeasureError where a Record
    holds no probe, or one of other tokens.
    """
    one, other = before.probe, after.probe
    if one is None or other is None or (one.sample, one.tokens) != (other.sample, other.tokens):
        raise MeasureError(
            f"{after.site.name}: the Records hold no probe of the same tokens, so the order of layers cannot be told\n"
            "  measure both again"
        )
    return math.nan if before.nonfinite or after.nonfinite else turn(one.sketch, other.sketch)


def drop(before: float, after: float, floor: float) -> float:
    """`before` less `after`; 0 where that is no loss, or where `after` still reaches `floor`. NaN where either is."""
    if math.isnan(before) or math.isnan(after):
        return math.nan
    return 0.0 if after >= floor or after >= before else before - after


def record_change(before: Record, after: Record, metric: Metric, floor: float | None) -> float:
    """The change of a residual stream as a whole: new massive-activation layers, or layers by which the first jump
    moved (inf: it came or went).
    """
    if any(reading.nonfinite for record in (before, after) for reading in stream(record)):
        return math.nan
    if metric == MASSIVE:
        return float(len(new_massive_layers(before, after, floor or 0.0)))
    if metric == JUMP:
        return jump_shift(before, after, floor or 0.0)
    raise InputError(f"no relative metric of the whole model called {metric.name!r}\n  there are {MASSIVE} and {JUMP}")
