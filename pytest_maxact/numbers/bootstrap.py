"""How far a figure of samples can be trusted: per-sample sums in, the interval that 95 of 100 such sets of samples give
out, without another pass.

A figure is a ratio of two sums over samples: samples are drawn again, with replacement, as many as there were of every
stratum (a category of the corpus; those of one sample count together), and the figure is taken of what was drawn. What
is kept of a draw is its distance from the figure in units of the draw's own standard error (bootstrap-t, Efron and
Tibshirani 1993, chapter 12; the error of a ratio by the delta method), of logarithms where all is positive: the plain
percentiles of draws cover 82 to 94 of 100 where these cover 90 to 97 (`tests/numbers/test_bootstrap.py`). The draws
follow from a seed, so the same sums give the same interval.

Guard: where a few samples lie off the figure and the others hardly, many draws have none of these and tell nothing, so
that the ends would lie too near. An end is never nearer than so few rare events allow (`_rare`).
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

DRAWS = 2000
LEVEL = 0.95
_NORMAL = 1.959963984540054
"""Standard errors to either side that hold 95 of 100."""
Interval = tuple[float, float]
Floats = npt.NDArray[np.float64]


def intervals(
    numerators: npt.ArrayLike, denominators: npt.ArrayLike, strata: Sequence[object] | None = None, seed: int = 0
) -> list[Interval]:
    """Of every figure, its lower and upper end: `numerators` [samples, figures] over `denominators`, of the same shape,
    or [samples, 1] where all figures share one.

    NaN for a figure with a sum that is not finite, for one without anything to divide by, for one in which nothing
    varied, and where there are fewer than two samples: nothing tells then how far it would be from another text's.
    """
    above, below = (np.asarray(sums, np.float64) for sums in (numerators, denominators))
    return Bootstrap(strata if strata is not None else [0] * len(above), seed).intervals(above, below)


class Bootstrap:
    """The draws of one set of samples, made once for all figures of it."""

    def __init__(self, strata: Sequence[object], seed: int = 0) -> None:
        self._strata, self._seed = _pooled(strata), seed
        self._drawn: Floats | None = None

    def intervals(self, above: Floats, below: Floats) -> list[Interval]:
        """As the function of this name, of sums over these samples."""
        samples, figures = above.shape
        if samples < 2:
            return [(math.nan, math.nan)] * figures
        if self._drawn is None:
            self._drawn = drawn(self._strata, self._seed)
        below = np.broadcast_to(below, above.shape)
        known = np.asarray(np.isfinite(above + below).all(axis=0))
        above, below = np.where(known, above, 0.0), np.where(known, below, 0.0)
        whole, error = _figures(np.ones((1, samples)), above, below, self._strata)
        found, errors = _figures(self._drawn, above, below, self._strata)
        less, more = _least_width(whole[0], above, below, self._strata)
        return [
            _no_nearer(
                _ends(whole[0, place], error[0, place], found[:, place], errors[:, place]),
                whole[0, place], less[place], more[place],
            )
            if known[place]
            else (math.nan, math.nan)
            for place in range(figures)
        ]  # fmt: skip


def unanimous(share: float, samples: int) -> Interval:
    """The ends of a share that was none or all of every one of `samples`: of other samples so many at most are unlike
    these ("rule of three", as in `numbers/exceedance.py`). NaN for any other share, and for fewer than two samples.
    """
    unlike = 1 - (1 - LEVEL) ** (1 / samples) if samples > 1 else math.nan
    if math.isnan(unlike) or share not in (0.0, 1.0):
        return math.nan, math.nan
    return (1 - unlike, 1.0) if share else (0.0, unlike)


def drawn(strata: Sequence[object], seed: int = 0) -> Floats:
    """How often every sample is drawn, [DRAWS, samples]: of each stratum as many in every draw as it has; those of one
    sample count together, which alone would be drawn every time, as if nothing could stand in its place.
    """
    strata = _pooled(strata)
    generator = np.random.default_rng(seed)
    counts = np.zeros((DRAWS, len(strata)))
    for own in _places(strata):
        counts[:, own] = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), size=DRAWS)
    return counts


def _pooled(strata: Sequence[object]) -> list[object]:
    """Strata of one sample as one, with the smallest other where there is one such sample alone."""
    sizes = Counter(strata)
    alone = {stratum for stratum, size in sizes.items() if size == 1}
    if len(alone) == 1 and not sizes[None] > 1 and len(sizes) > 1:
        alone.add(min((one for one in sizes if one not in alone), key=lambda one: sizes[one]))
    return [None if stratum in alone else stratum for stratum in strata]


def _places(strata: Sequence[object]) -> list[list[int]]:
    found: dict[object, list[int]] = {}
    for place, stratum in enumerate(strata):
        found.setdefault(stratum, []).append(place)
    return list(found.values())


def _figures(counts: Floats, above: Floats, below: Floats, strata: Sequence[object]) -> tuple[Floats, Floats]:
    """Of draws [draws, samples] every figure, and its standard error within strata: [draws, figures] each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        total = counts @ below
        ratio = (counts @ above) / total
        spread = np.zeros_like(ratio)
        for own in _places(strata):
            size = len(own)
            if size < 2:
                continue
            chosen, a, b = counts[:, own], above[own], below[own]
            residual = chosen @ a - ratio * (chosen @ b)
            squares = chosen @ (a * a) - 2 * ratio * (chosen @ (a * b)) + ratio * ratio * (chosen @ (b * b))
            spread += size / (size - 1) * np.maximum(squares - residual * residual / size, 0.0)
        return ratio, np.sqrt(spread) / np.abs(total)


def _ends(whole: float, error: float, found: Floats, errors: Floats) -> Interval:
    """Of draws in which nothing was divided by, or nothing varied, there is none to take."""
    if not math.isfinite(whole) or not error > abs(whole) * 1e-12:
        return math.nan, math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        told = np.isfinite(found) & (errors > 0)
        in_logarithms = whole > 0 and bool((found[told] > 0).all())
        if in_logarithms:
            distances = np.log(found[told] / whole) * found[told] / errors[told]
        else:
            distances = (found[told] - whole) / errors[told]
    if not len(distances):
        return math.nan, math.nan
    low, high = np.quantile(distances, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    if in_logarithms:
        with np.errstate(over="ignore"):
            return float(whole * np.exp(-high * error / whole)), float(whole * np.exp(-low * error / whole))
    return float(whole - high * error), float(whole - low * error)


def _least_width(whole: Floats, above: Floats, below: Floats, strata: Sequence[object]) -> tuple[Floats, Floats]:
    """How far the lower and the upper end of every figure lie from it at least, [figures] each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        off = above - whole * below
        for own in _places(strata):
            off[own] -= off[own].mean(axis=0)
        total = np.abs(below.sum(axis=0))
        return _rare(np.maximum(-off, 0.0)) / total, _rare(np.maximum(off, 0.0)) / total


def _rare(off: Floats) -> Floats:
    """How much more distances to one side, [samples, figures], may come to in other samples, [figures]: of as many rare
    events of one size as have their sum and the sum of their squares, of which there may be up to the upper end of a
    Poisson mean (Garwood 1936; its chi-square by Wilson and Hilferty 1931, within 1 %).
    """
    total = off.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        events = total * total / (off * off).sum(axis=0)
        share = 1.0 / (9.0 * (events + 1.0))
        most = (events + 1.0) * (1.0 - share + _NORMAL * np.sqrt(share)) ** 3
        return np.where(events > 0, total * (most / events - 1.0), 0.0)


def _no_nearer(ends: Interval, whole: float, less: float, more: float) -> Interval:
    """Ends that lie so far from the figure at least; a figure above zero of which no draw fell below stays there."""
    low, high = ends
    least = max(whole - less, 0.0) if low >= 0.0 else whole - less
    return ends if math.isnan(low) else (float(min(low, least)), float(max(high, whole + more)))
