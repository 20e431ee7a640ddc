"""The residual stream as a whole: where it jumps, and which layers hold massive activations."""

import math
from collections.abc import Sequence
from itertools import pairwise

from pytest_maxact.errors import MeasureError
from pytest_maxact.numbers.ratio import ratio
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record

JUMP_FACTOR = 10.0
"""A layer that multiplies the residual maximum of the one before by this or more is a jump layer (arXiv 2605.15572)."""
_JUMP_TOLERANCE = 1.25
"""Jumps within this factor of `JUMP_FACTOR`, and to magnitudes within it of the floor, may count or not: where the
first lies must not hang on rounding.
"""


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


def jump_layers(record: Record) -> tuple[int, ...]:
    """Every layer whose residual maximum is ten times that of the layer before, or more."""
    return tuple(layer for layer, certainty in _jumps(record, 0.0) if certainty >= 1.0)


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
            min(_factor(before.max_abs, after.max_abs) / JUMP_FACTOR, after.max_abs / floor if floor else math.inf),
        )
        for before, after in pairwise(stream(record))
        if after.site.layer is not None
    ]


def _factor(before: float, after: float) -> float:
    """Their `ratio`, but 0 from a layer of zeros, where there is nothing to multiply, and inf to one that is no longer
    finite: no jump is larger.
    """
    if before == 0.0:
        return 0.0
    return math.inf if math.isfinite(before) and after == math.inf else ratio(before, after)
