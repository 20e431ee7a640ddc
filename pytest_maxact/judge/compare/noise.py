"""The noise floor of a comparison: two Records in, how far one site's figures would lie apart had nothing changed out.

Guards both ways: what the measurement itself gives for a difference is no breach, and no floor hides more than a
difference that is small whatever was measured.
"""

import math

from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.noise import MOST, Noise, Spread, documented
from pytest_maxact.record.metrics.metric import GROWTH, SHIFT, SHRINK, Metric
from pytest_maxact.record.record import Record


def floor_between(before: Record, after: Record, site: str) -> Spread:
    """Of one site: what either Record saw when it was repeated, or what the arithmetic of one that was not is known
    for; the larger, and no more than `MOST`.
    """
    return spread_of(before, site).widened(spread_of(after, site)).within(MOST)


def is_noise(value: float, metric: Metric, floor: Spread) -> bool:
    """Whether a change of a site is no larger than the floor; never of what is read of weights, which does not move,
    nor of what is no number.
    """
    if metric in (GROWTH, SHRINK):
        return value <= 1 + floor.max_abs
    if metric == SHIFT:
        return value <= floor.shift
    of = metric.of
    return of is not None and not of.is_of_weights and value <= floor.sqnr_db


def floor_words(before: Record, after: Record, metric: Metric, floor: Spread) -> str:
    """The floor under a metric, and where it is from: `3 % of bfloat16`."""
    if metric in (GROWTH, SHRINK):
        stated = f"{floor.max_abs:.2%}"
    else:
        stated = f"{floor.shift:.3g}" if metric == SHIFT else f"{floor.sqnr_db:.3g} dB"
    return f"{stated}, {' and '.join(dict.fromkeys(_origin(record) for record in (before, after)))}"


def spread_of(record: Record, site: str) -> Spread:
    """Of one Record alone, as `floor_between`."""
    return record.noise.sites[site] if record.noise else documented(record.provenance.dtype)


def _origin(record: Record) -> str:
    return origin_of(record.noise) if record.noise else f"known of {record.provenance.dtype}"


def origin_of(noise: Noise) -> str:
    """What a measured floor rests on: `of 8 samples under 5 conditions`."""
    many = "condition" if len(noise.conditions) == 1 else "conditions"
    return f"of {noise.samples} samples under {len(noise.conditions)} {many}"


def unsteady(record: Record) -> str:
    """In words, the site that repeats itself worse than any floor may be; empty where none does."""
    if record.noise is None:
        return ""
    beyond = {name: spread.max_abs for name, spread in record.noise.sites.items() if not spread.max_abs <= MOST.max_abs}
    if not beyond:
        return ""
    worst = max(beyond, key=beyond.__getitem__)
    return (
        f"the measurement does not repeat itself: largest magnitudes of {counted(len(beyond), 'site')} moved by more "
        f"than {MOST.max_abs:.0%} ({origin_of(record.noise)}), most in {worst}, by {beyond[worst]:.3g} times"
    )


def band_of(value: float, metric: Metric, floor: Spread) -> tuple[float, float] | None:
    """Where a change of a site may lie when both are measured again; None of what does not move, of what is no number,
    and of a change that is inside the floor, which is no change.
    """
    of = metric.of
    if not math.isfinite(value) or is_noise(value, metric, floor):
        return None
    if metric in (GROWTH, SHRINK):
        return value / (1 + floor.max_abs), value * (1 + floor.max_abs)
    if metric == SHIFT:
        return value - floor.shift, value + floor.shift
    if of is None or of.is_of_weights or not of.is_in_decibels:
        return None
    return value - floor.sqnr_db, value + floor.sqnr_db
