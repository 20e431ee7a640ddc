"""Whether figures that stand for a distribution agree with each other: those of a summary's site, and those of a
weight.
"""

import math
from collections import defaultdict

from pytest_maxact.errors import InputError, shown
from pytest_maxact.numbers.formats import INT8_POLICIES
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.record.held import Summary
from pytest_maxact.record.metrics.distortion import FORMAT_QUANTITIES, SCHEME_QUANTITIES
from pytest_maxact.record.metrics.figures import QUANTILES, integer_name, quantile_name
from pytest_maxact.record.metrics.metric import CENTRED_SQNR, Kind, Metric
from pytest_maxact.record.reading import SiteReading

_REPORTED = ("mean_abs", "smoothing_gain_db")
_KINDS = (Kind.RMS, Kind.QUANTILE, Kind.INTEGER, Kind.SCHEME, Kind.CHANNEL_RATIO)
_SHARES = ("clip_rate", "flush_to_zero")
_NEAR = 1 + 2.0**-8
"""What rounding to 16 bits changes at most: the largest entry is exact, what follows from the histogram is not."""
_CLOSE_DB = 1e-3


def require_sound_figures(reading: SiteReading, held: Summary) -> None:
    """Raise ValueError that names the figure and what it contradicts."""
    figures, largest = held.figures, reading.finite_max * _NEAR
    families: dict[str, set[str]] = defaultdict(set)
    quantiles: list[tuple[float, float]] = []
    for name, value in figures.items():
        metric = None if name in _REPORTED else _metric(name)
        if metric is not None and metric.kind is Kind.QUANTILE:
            quantiles.append((metric.q, value))
        elif metric is not None and metric.quantity and metric.quantity != CENTRED_SQNR:
            families[name.removesuffix(f".{metric.quantity}")].add(metric.quantity)
        _require_range(name, value, metric.quantity if metric else "")
    if len(reading.peaks) > 1 or (not reading.peaks and reading.count > reading.nonfinite):
        raise ValueError(f"peaks: {len(reading.peaks)}, where a summary keeps the largest entry")
    for name, quantities in families.items():
        wanted = set(FORMAT_QUANTITIES if name.startswith("int") else SCHEME_QUANTITIES)
        if missing := sorted(wanted - quantities):
            raise ValueError(f"figures.{name}.{missing[0]}: missing")
        _require_error(name, figures[f"{name}.sqnr_db"], figures[f"{name}.rel_rmse"])
    wanted_always = ["rms", "mean_abs", *(quantile_name(q) for q in QUANTILES)]
    wanted_always += [f"{integer_name(policy, 8)}.sqnr_db" for policy in (*INT8_POLICIES, "optimal")]
    for name in (*wanted_always, *(f"{scheme}.sqnr_db" for scheme in held.schemes)):
        if name not in figures:
            raise ValueError(f"figures.{shown(name)}: missing")
    mean, rms = figures["mean_abs"], figures["rms"]
    if not mean <= rms * _NEAR <= largest * _NEAR or (reading.finite_max and not rms):
        raise ValueError(f"figures.rms: {rms}, where the mean is {mean} and the largest entry {reading.finite_max}")
    below = 0.0
    for q, value in sorted(quantiles):
        if not below <= value <= largest:
            raise ValueError(f"figures.quantile.{q}: {value}, which does not lie between {below} and {largest}")
        below = value


def require_sound_weight(name: str, weight: WeightDistortion) -> None:
    """The same of a weight under a scheme."""
    if weight.refused:
        return
    if not weight.entries:
        raise ValueError(f"weights.{name}.entries: none")
    _require_error(f"weights.{name}", weight.sqnr_db, weight.rel_rmse)
    if weight.lowest_db > weight.sqnr_db + _CLOSE_DB:
        raise ValueError(f"weights.{name}.lowest_db: {weight.lowest_db} of the worst, {weight.sqnr_db} of all")
    if weight.most_flushed is not None and weight.most_flushed < weight.flush_to_zero * (1 - 1e-9):
        raise ValueError(f"weights.{name}.most_flushed: {weight.most_flushed} at most, {weight.flush_to_zero} of all")


def _metric(name: str) -> Metric:
    try:
        metric = Metric.parse(name)
    except InputError as error:
        raise ValueError(f"figures.{shown(name)}: no figure that a summary keeps") from error
    if metric.kind not in _KINDS:
        raise ValueError(f"figures.{shown(name)}: no figure that a summary keeps")
    return metric


def _require_range(name: str, value: float, quantity: str) -> None:
    if name.endswith("_db"):
        return
    is_whole = quantity in ("levels_used", "tokens")
    if is_whole and not (math.isfinite(value) and value == int(value)):
        raise ValueError(f"figures.{name}: {value} is no count")
    if value < 0 or (quantity in _SHARES and value > 1):
        raise ValueError(f"figures.{name}: {value} is out of range")


def _require_error(name: str, sqnr_db: float, rel_rmse: float) -> None:
    """SQNR and relative error are one figure, said twice."""
    if sqnr_db == math.inf and rel_rmse != 0:
        raise ValueError(f"{name}.sqnr_db: no error, where the relative error is {rel_rmse}")
    if not _are_one(sqnr_db, rel_rmse):
        raise ValueError(f"{name}.sqnr_db: {sqnr_db}, where a relative error of {rel_rmse} is another")


def _are_one(sqnr_db: float, rel_rmse: float) -> bool:
    """Of zeros alone there is no relative error: it is 0, or NaN, whatever becomes of them."""
    if math.isfinite(sqnr_db):
        return 0 < rel_rmse < math.inf and abs(sqnr_db + 20 * math.log10(rel_rmse)) <= _CLOSE_DB
    if sqnr_db > 0:
        return rel_rmse == 0
    return math.isnan(rel_rmse) or rel_rmse == 0 or rel_rmse == -sqnr_db
