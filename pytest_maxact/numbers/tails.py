"""What more text of the same kind would reach: the largest magnitude of every sample in, the maximum at ten and a
hundred times as many samples with its interval out, or why none is told.

Peaks over threshold: what the largest samples have above a threshold has a generalised Pareto distribution, in the
limit, whatever the distribution of all (Pickands 1975). Which is not known, so that none is chosen: every shape and
scale counts as much as it is likely to give these excesses, and the interval is of what all of them predict, chance of
the new samples included (binomial-GP model: Northrop, Attalides and Jonathan 2017, doi:10.1111/rssc.12159). Maximum
likelihood of twenty excesses would give shapes that are off by a quarter, and intervals that know nothing of it. Before
anything is seen a shape is thought to lie about zero, within a quarter above it and a half below. Magnitudes are
rounded, bfloat16 to 8 bits: an excess counts as the interval that is rounded to it.

Guard: no figure where the fit is not to be believed. Of thresholds with a fifth to a twentieth of all samples above
them the lowest is taken that an Anderson-Darling test at 5 % does not refuse (as Choulakian and Stephens 2001 propose);
its critical values for this estimate were drawn (`tests/numbers/test_tails.py`).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

TIMES = (10, 100)
FEWEST, MOST = 20, 250
"""Excesses that a fit takes at least, and is given at most."""
DISTINCT = 8
"""Fewer different values above a threshold are a plateau."""
HEAVIEST = 0.5
"""A tail of this shape has no variance, and its maximum no scale that more text would keep."""
_SHARES = (0.2, 0.15, 0.1, 0.075, 0.05)
_LEVELS = (0.025, 0.5, 0.975)
_BITS = {"bfloat16": 7, "float16": 10}
_SHAPES = np.linspace(-0.95, 0.95, 39)
_OFFSETS = np.linspace(-1.0, 1.0, 41)
_CHANCES = (np.arange(15) + 0.5) / 15
_RATES = (np.arange(5) + 0.5) / 5
_UNLIKELY = 1e-6
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """The maximum of `times` as many samples, these among them: it is as likely above `expected` as below, and lies
    from `low` to `high` in 95 of 100 cases.
    """

    times: int
    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """`excesses` of `samples` lie above `threshold`; `shape` is what is expected of it. `refused`: why nothing is told
    ahead; empty where something is.
    """

    samples: int
    ahead: tuple[Ahead, ...] = ()
    threshold: float = 0.0
    excesses: int = 0
    shape: float = 0.0
    refused: str = ""


@dataclass(frozen=True, slots=True)
class _Fit:
    """Every shape and scale, and how likely each is; `best`: the place of the likeliest."""

    shapes: Floats
    scales: Floats
    weights: Floats

    @property
    def best(self) -> tuple[float, float]:
        place = int(self.weights.argmax())
        return float(self.shapes[place]), float(self.scales[place])

    @property
    def shape(self) -> float:
        return float((self.shapes * self.weights).sum())


def is_installed() -> bool:
    """Whether scipy is there, which a tail takes."""
    from importlib.util import find_spec

    return find_spec("scipy") is not None


def tail_of(magnitudes: Floats, dtype: str) -> Tail:
    """Of the largest magnitude of every sample [samples], rounded to a `dtype`."""
    samples = len(magnitudes)
    if samples * _SHARES[0] < FEWEST:
        return Tail(samples=samples, refused=f"{samples} samples are too few, a tail takes {FEWEST / _SHARES[0]:.0f}")
    ordered = np.sort(magnitudes)[::-1]
    why = f"equal values leave fewer than {FEWEST} samples above any threshold"
    for share in _SHARES:
        threshold = _upper(ordered[min(int(share * samples), MOST)], dtype)
        above = ordered[ordered > threshold]
        if len(above) < FEWEST:
            break
        values, counts = np.unique(above, return_counts=True)
        if len(values) < DISTINCT:
            why = f"a plateau: {len(above)} samples above {threshold:.6g} have {len(values)} different values"
            continue
        low, high = _cells(values, dtype, threshold)
        fit = _fitted(values - threshold, low, high, counts)
        if _distance(low, high, counts, *fit.best) > critical(fit.best[0]):
            why = "no generalised Pareto distribution fits what lies above any threshold"
            continue
        found = Tail(samples=samples, threshold=threshold, excesses=len(above), shape=fit.shape)
        return _ahead(found, fit, float(ordered[0]), dtype)
    return Tail(samples=samples, refused=why)


def critical(shape: float) -> float:
    """Of the Anderson-Darling distance, which 5 of 100 samples of that shape exceed."""
    return 1.1 - 0.35 * shape


def _ahead(found: Tail, fit: _Fit, largest: float, dtype: str) -> Tail:
    if found.shape > HEAVIEST:
        return replace(found, refused=f"a tail too heavy to be carried on: shape {found.shape:.2f}")
    return replace(found, ahead=tuple(_told(found, fit, largest, times, dtype) for times in TIMES))


def _fitted(excesses: Floats, low: Floats, high: Floats, counts: npt.NDArray[np.int64]) -> _Fit:
    """Shapes by scales about the one whose median is that of the excesses."""
    median = float(np.median(np.repeat(excesses, counts)))
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = np.where(np.abs(_SHAPES) < 1e-9, median / np.log(2), median * _SHAPES / (2.0**_SHAPES - 1))
    scales = (middle[:, None] * np.exp(_OFFSETS)).reshape(-1)
    shapes = np.repeat(_SHAPES, len(_OFFSETS))
    inside = _above(low[:, None] / scales, shapes) - _above(high[:, None] / scales, shapes)
    with np.errstate(divide="ignore"):
        likely = counts @ np.log(inside) - 0.5 * (shapes / np.where(shapes > 0, 0.25, 0.5)) ** 2
    weights = np.exp(likely - likely.max())
    return _Fit(shapes, scales, weights / weights.sum())


def _distance(low: Floats, high: Floats, counts: npt.NDArray[np.int64], shape: float, scale: float) -> float:
    """Anderson-Darling, those of one value spread evenly over what is rounded to it."""
    first, last = (1 - _above(end / scale, np.array(shape)) for end in (low, high))
    within = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    chances = np.repeat(first, counts) + np.repeat(last - first, counts) * within
    chances = np.clip(np.sort(chances), 1e-12, 1 - 1e-12)
    size = len(chances)
    odd = 2 * np.arange(1, size + 1) - 1
    return float(-size - (odd * (np.log(chances) + np.log1p(-chances[::-1]))).sum() / size)


def _told(found: Tail, fit: _Fit, largest: float, times: int, dtype: str) -> Ahead:
    """Quantiles of the maximum over all likely shapes, scales and rates of excesses."""
    from scipy.special import betaincinv, boxcox

    kept = fit.weights > _UNLIKELY
    shapes, scales = (values[kept][:, None, None] for values in (fit.shapes, fit.scales))
    rates = betaincinv(found.excesses + 0.5, found.samples - found.excesses + 0.5, _RATES)
    beyond = -np.expm1(np.log(_CHANCES) / ((times - 1) * found.samples)) / rates[:, None]
    reached = found.threshold - scales * boxcox(np.minimum(beyond, 1.0), -shapes)
    reached = np.maximum(reached, largest).reshape(-1)
    weights = np.repeat(fit.weights[kept], beyond.size)
    order = np.argsort(reached)
    sums = np.cumsum(weights[order])
    low, middle, high = (
        _rounded(float(reached[order][min(np.searchsorted(sums, level * sums[-1]), len(order) - 1)]), dtype)
        for level in _LEVELS
    )
    return Ahead(times=times, expected=middle, low=low, high=high)


def _above(scaled: Floats, shapes: Floats) -> Floats:
    """Chance of more than that, of a generalised Pareto distribution of scale 1."""
    from scipy.special import inv_boxcox

    with np.errstate(all="ignore"):
        found: Floats = inv_boxcox(-scaled, -shapes)
    return np.where(np.isfinite(found), found, 0.0)


def _step(values: Floats, dtype: str) -> Floats:
    """How far the neighbours of magnitudes lie apart."""
    bits = _BITS.get(dtype, 23)
    steps: Floats = np.exp2(np.floor(np.log2(np.maximum(values, 2.0**-126))) - bits)
    return steps


def _cells(values: Floats, dtype: str, threshold: float) -> tuple[Floats, Floats]:
    """The ends of what is rounded to each value, above the threshold."""
    half = _step(values, dtype) / 2
    return np.maximum(values - half - threshold, 0.0), values + half - threshold


def _upper(value: float, dtype: str) -> float:
    return float(value + _step(np.array([value]), dtype)[0] / 2)


def _rounded(value: float, dtype: str) -> float:
    step = float(_step(np.array([value]), dtype)[0])
    return round(value / step) * step
