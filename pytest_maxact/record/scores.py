"""Attention scores, as plain data: how large the products of queries and keys became, layer by layer."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_maxact.numbers.checked import Count, FigureAboveZero, Flag
from pytest_maxact.numbers.formats import FP16_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerScores:
    """The largest magnitude of a score of one layer before it is scaled, inf where one was no number. `exact`: whether
    it was read; else it is a bound, the product of the largest norms of a head's queries and keys.
    """

    layer: Count
    largest: FigureAboveZero
    exact: Flag


def joined(scores: Iterable[LayerScores]) -> tuple[LayerScores, ...]:
    """The largest of each layer, in the order of depth, whatever the order of `scores`: of equals, one that was
    read.
    """
    largest: dict[int, LayerScores] = {}
    for found in scores:
        known = largest.setdefault(found.layer, found)
        if (found.largest, found.exact) > (known.largest, known.exact):
            largest[found.layer] = found
    return tuple(largest[layer] for layer in sorted(largest))


def merged_scores(parts: Iterable[tuple[LayerScores, ...] | None]) -> tuple[LayerScores, ...] | None:
    """Those of parts of one corpus together; None where in one of them none was looked for."""
    known = list(parts)
    told = [found for part in known if part is not None for found in part]
    return None if None in known else joined(told)


def largest_scores(scores: Iterable[LayerScores]) -> LayerScores | None:
    """Those of the layer where they are largest, the shallowest of equals; None where no attention was seen."""
    return min(scores, key=lambda found: (-found.largest, found.layer), default=None)


def score_headroom(found: LayerScores | None) -> float:
    """The largest number of float16 over the largest score; NaN where no attention was seen."""
    if found is None:
        return math.nan
    return FP16_MAX / found.largest if found.largest else math.inf
