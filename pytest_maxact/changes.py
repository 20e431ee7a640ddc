"""How far a checkpoint is from a baseline: the figures that relative limits bound. No torch.

Every figure is one that may not be large, and NaN or infinite where either side has no finite value to compare: no
bound holds then by accident. A floor keeps noise on values that nobody minds from counting.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.limits.regression import DROP, GROWTH, JUMP, MASSIVE, SHIFT, SHRINK
from pytest_maxact.metrics import metric_value
from pytest_maxact.reading import SiteReading
from pytest_maxact.record import Record, differences, footing_of

JUMP_FACTOR = 10.0
"""A layer that multiplies the residual maximum of the one before by this or more is a jump layer (arXiv 2605.15572)."""
_JUMP_TOLERANCE = 1.25
"""Jumps within this factor of `JUMP_FACTOR`, and to magnitudes within it of the floor, may count or not: where the
first lies must not hang on rounding.
"""


def require_alike(before: Record, after: Record) -> None:
    """Raise InputError for Records whose figures are not of the same measurement on different weights."""
    if differing := differences(footing_of(before.provenance), footing_of(after.provenance)):
        samples = [len(record.provenance.samples) for record in (before, after)]
        counts = f"; {samples[0]} samples there, {samples[1]} here" if samples[0] != samples[1] else ""
        raise InputError(
            f"{before.provenance.model} (there) and {after.provenance.model} (here) were not measured alike; they "
            f"differ in {', '.join(differing)}{counts}\n"
            "  measure both on the same corpus, with the same tokenizer, protocol, dtype and cut"
        )


def site_change(before: SiteReading, after: SiteReading, metric: str, floor: float | None) -> float:
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
    if metric.endswith(DROP):
        name = metric.removesuffix(DROP)
        return drop(metric_value(before, name), metric_value(after, name), math.inf if floor is None else floor)
    raise InputError(
        f"no relative metric called {metric!r}\n  there are {GROWTH}, {SHRINK}, {SHIFT} and <metric>{DROP}"
    )


def growth(before: float, after: float, floor: float) -> float:
    """`after` over `before`, magnitudes below `floor` taken as `floor`; 1 where both are 0, inf from 0 to anything, NaN
    unless both are finite.
    """
    if not (math.isfinite(before) and math.isfinite(after)):
        return math.nan
    low, high = max(before, floor), max(after, floor)
    return high / low if low > 0 else (1.0 if high == 0 else math.inf)


def shift(before: SiteReading, after: SiteReading) -> float:
    """The largest difference between the shares of entries up to a magnitude, over all magnitudes: the distance of
    Kolmogorov and Smirnov.

    Twice the spread of a normal distribution is 0.33. NaN where either side holds entries that are not finite, or none
    at all.
    """
    one, other = before.histogram, after.histogram
    if one.nonfinite or other.nonfinite or not one.count or not other.count:
        return math.nan
    (values, counts), (others, other_counts) = one.finite(), other.finite()
    every = np.union1d(values, others)
    shares = [
        np.append(0, np.cumsum(entries))[np.searchsorted(magnitudes, every, side="right")] / entries.sum()
        for magnitudes, entries in ((values, counts), (others, other_counts))
    ]
    return float(np.abs(shares[0] - shares[1]).max())


def drop(before: float, after: float, floor: float) -> float:
    """`before` less `after`; 0 where that is no loss, or where `after` still reaches `floor`. NaN where either is."""
    if math.isnan(before) or math.isnan(after):
        return math.nan
    return 0.0 if after >= floor or after >= before else before - after


def record_change(before: Record, after: Record, metric: str, floor: float | None) -> float:
    """The change of a residual stream as a whole: new massive-activation layers, or layers by which the first jump
    moved (inf: it came or went).
    """
    if any(reading.nonfinite for record in (before, after) for reading in stream(record)):
        return math.nan
    if metric == MASSIVE:
        return float(len(new_massive_layers(before, after, floor or 0.0)))
    if metric == JUMP:
        return jump_shift(before, after, floor or 0.0)
    raise InputError(f"no relative metric of the whole model called {metric!r}\n  there are {MASSIVE} and {JUMP}")


def new_massive_layers(before: Record, after: Record, floor: float = 0.0) -> list[int]:
    """Layers that meet the criterion of Sun et al. on at least `floor` tokens, one at least, did not, and now do on
    more than twice as many tokens.

    Raises MeasureError where either Record was not tested for it.
    """
    floor = max(floor, 1.0)
    tokens = [
        (reading.site.layer, _massive(before.sites.get(reading.site.name)), _massive(reading))
        for reading in stream(after)
        if reading.site.layer is not None
    ]
    return [layer for layer, had, has in tokens if had < floor <= has and has > 2 * had]


def first_jump(record: Record, floor: float = 0.0) -> int | None:
    """The first layer whose residual maximum is ten times that of the layer before, or more, and at least `floor`; the
    embedding comes first.
    """
    return next((layer for layer, certainty in _jumps(record, floor) if certainty >= 1.0), None)


def jump_shift(before: Record, after: Record, floor: float = 0.0) -> float:
    """Layers between the first jumps, to `floor` or above, of two Records; inf where only one has any.

    Where a layer jumps in one and nearly does in the other, both jump there; where it only just jumps in one and not at
    all in the other, neither does.
    """
    firsts = [first_jump(record, floor) for record in (before, after)]
    apart = math.inf if None in firsts else float(abs((firsts[0] or 0) - (firsts[1] or 0)))
    here_of, there_of = dict(_jumps(before, floor)), dict(_jumps(after, floor))
    for layer in sorted(here_of.keys() | there_of.keys()):
        here, there = here_of.get(layer, 0.0), there_of.get(layer, 0.0)
        low, high = sorted((here, there))
        if high >= 1.0 and low >= 1.0 / _JUMP_TOLERANCE:
            return 0.0
        if high >= _JUMP_TOLERANCE:
            elsewhere = firsts[1] if here > there else firsts[0]
            return math.inf if elsewhere is None else min(apart, float(abs(layer - elsewhere)))
    return 0.0


def stream(record: Record) -> Sequence[SiteReading]:
    """The embedding and the residual stream after every layer, in depth order."""
    return [reading for reading in record.sites.values() if reading.site.kind in ("embedding", "hidden")]


def _massive(reading: SiteReading | None) -> int:
    if reading is None or reading.massive is None:
        raise MeasureError("a Record was not tested for massive activations at every layer\n  measure it again")
    return reading.massive.tokens


def _jumps(record: Record, floor: float) -> list[tuple[int, float]]:
    """How certainly every layer jumps: its factor over `JUMP_FACTOR`, or what it reaches over `floor` where that is
    less; 1 is a jump just so.
    """
    return [
        (
            after.site.layer,
            min(_over(after.max_abs, before.max_abs) / JUMP_FACTOR, after.max_abs / floor if floor else math.inf),
        )
        for before, after in pairwise(stream(record))
        if after.site.layer is not None
    ]


def _over(after: float, before: float) -> float:
    """Their quotient; 0 where there is nothing to multiply."""
    return after / before if before > 0 else 0.0
