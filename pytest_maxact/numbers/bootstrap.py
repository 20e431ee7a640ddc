"""How far a figure of samples can be trusted: per-sample sums in, the interval that 95 of 100 such sets of samples give
out, without another pass.

A figure is a ratio of two sums over samples: samples are drawn again, with replacement, as many as there were of every
stratum (a category of the corpus), and the figure is taken of what was drawn (Efron, percentile interval). The draws
follow from a seed, so the same sums give the same interval.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

DRAWS = 2000
LEVEL = 0.95
Interval = tuple[float, float]


def intervals(
    numerators: npt.ArrayLike, denominators: npt.ArrayLike, strata: Sequence[object] | None = None, seed: int = 0
) -> list[Interval]:
    """Of every figure, its lower and upper end: `numerators` [samples, figures] over `denominators`, of the same shape,
    or [samples, 1] where all figures share one.

    NaN for a figure with a sum that is not finite, for one without anything to divide by, and where there are fewer
    than two samples: nothing tells then how far it would be from another text's.
    """
    above, below = (np.asarray(sums, np.float64) for sums in (numerators, denominators))
    samples, figures = above.shape
    if samples < 2:
        return [(math.nan, math.nan)] * figures
    counts = drawn(strata if strata is not None else [0] * samples, seed)
    below = np.broadcast_to(below, above.shape)
    known: npt.NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(above) & np.isfinite(below), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (counts @ np.where(known, above, 0.0)) / (counts @ np.where(known, below, 0.0))
    return [_ends(found[:, place]) if known[place] else (math.nan, math.nan) for place in range(figures)]


def drawn(strata: Sequence[object], seed: int = 0) -> npt.NDArray[np.float64]:
    """How often every sample is drawn, [DRAWS, samples]: of each stratum as many in every draw as it has."""
    generator = np.random.default_rng(seed)
    counts = np.zeros((DRAWS, len(strata)))
    for stratum in dict.fromkeys(strata):
        own = [place for place, other in enumerate(strata) if other == stratum]
        counts[:, own] = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), size=DRAWS)
    return counts


def _ends(found: npt.NDArray[np.float64]) -> Interval:
    """Of draws in which nothing was divided by there is none to take."""
    told = found[np.isfinite(found)]
    if not len(told):
        return math.nan, math.nan
    low, high = np.quantile(told, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)
