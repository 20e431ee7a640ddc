"""What was seen of a site on a few tokens, the same of every model that reads the same text: how much of the residual
stream a layer changes, and which way the outputs of its blocks point.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_maxact.numbers.checked import Count, Share

SKETCHED = 256
"""Entries of a sketch: the cosine of two outputs that have nothing in common is 0 +- 0.06."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Of the first `tokens` tokens of one sample.

    `changed`, of the residual stream after a layer: the share of its entries that the layer changes by more than one
    part in 512, and by the kind of a block, the share that is otherwise where this block gives nothing.
    `sketch`, of a block's output: its rows at unit length, summed with signs into `SKETCHED` entries; empty elsewhere.
    """

    sample: str
    tokens: Count
    changed: dict[str, Share]
    sketch: tuple[int, ...] = ()


def turn(one: Sequence[int], other: Sequence[int]) -> float:
    """1 less the cosine of two sketches, from 0 to 2; NaN for sketches of other sizes, 1 where only one is zero."""
    if len(one) != len(other) or not one:
        return math.nan
    lengths = math.sqrt(sum(a * a for a in one)), math.sqrt(sum(b * b for b in other))
    if not all(lengths):
        return 0.0 if lengths[0] == lengths[1] else 1.0
    return 1.0 - sum(a * b for a, b in zip(one, other, strict=True)) / (lengths[0] * lengths[1])
