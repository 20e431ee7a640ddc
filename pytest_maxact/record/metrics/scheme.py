"""The figures of one site under one scheme, from what a Record keeps. No torch.

Where a static scheme quantizes one tensor, its error is exact, over all tokens, from the histograms; figures of single
tokens, and every figure of the other schemes, are of the sampled tokens.
"""

import math

from pytest_maxact.errors import MeasureError, setting
from pytest_maxact.numbers.caches import CALIBRATION, EXACT, ONE, Cache
from pytest_maxact.numbers.formats import (
    FormatDistortion,
    cast_distortion,
    fp8_distortion,
    integer_distortion,
    static_distortion,
)
from pytest_maxact.numbers.schemes import SCHEMES, Scheme
from pytest_maxact.numbers.sums import SchemeSums, decibel
from pytest_maxact.record.held import Distributions, Summary, not_kept
from pytest_maxact.record.metrics.distortion import SchemeDistortion, restored
from pytest_maxact.record.reading import SiteReading


def scheme_distortion(reading: SiteReading, name: str) -> SchemeDistortion:
    """Raises MeasureError where the Record holds nothing of the scheme at this site, InputError for a cast that a
    summary did not keep.
    """
    held = reading.held
    if isinstance(held, Summary) and f"{name}.sqnr_db" in held.figures:
        return restored(SchemeDistortion, name, held.figures)
    scheme = SCHEMES[name]
    if scheme.cast and reading.dtype in ("float32", "float64"):
        raise MeasureError(
            f"{reading.site.name}: its histogram is rounded to bfloat16, so the error of a cast to {name} cannot be "
            "told from it\n"
            f"  judge {name}.headroom, and its effect on predictions"
        )
    if scheme.cast and isinstance(held, Summary):
        raise not_kept(f"the error of {name} at {reading.site.name}")
    if scheme.cast:
        return _join(cast_distortion(reading.histogram, scheme.cast), None)
    if scheme.cache and scheme.cache.shared == "tensor" and reading.site.is_cached and isinstance(held, Distributions):
        return _join(_of_cache(reading, held, scheme.cache), None)
    if isinstance(held, Summary) or (sums := held.schemes.get(name)) is None or not sums.tokens:
        raise MeasureError(
            f"{reading.site.name}: the Record holds nothing of scheme {name} there\n"
            f"  measure again with {setting('schemes')} {name}, on two samples or more; its groups must "
            "divide the width"
        )
    exact = _exact(held, reading.dtype, scheme, 0.0 if reading.breaks_as_deployed else reading.as_deployed or 0.0)
    return _join(exact, sums) if exact else _sampled(sums, held.evaluation.count)


def centred_sqnr_db(reading: SiteReading, name: str) -> float:
    """The energy of keys about their mean over that of their error under a scheme of the cache, in dB: what tells a key
    from others, for a constant that all of them share is nothing to the softmax. Raises MeasureError where the Record
    holds no spread there.
    """
    held = reading.held
    if isinstance(held, Summary) and (kept := held.figures.get(f"{name}.centred_sqnr_db")) is not None:
        return kept
    spread = held.spread if isinstance(held, Distributions) else None
    if spread is None or not isinstance(held, Distributions) or not spread.entries:
        raise MeasureError(
            f"{reading.site.name}: the Record does not hold how far its entries lie from their mean\n"
            f"  measure again with {setting('schemes')} {name}, on two samples or more"
        )
    error = scheme_distortion(reading, name).rel_rmse ** 2 * _energy(held, name)
    return decibel(spread.energy / spread.entries, error)


def _energy(held: Distributions, name: str) -> float:
    """Mean square of the entries that a scheme's error is of."""
    if sums := held.schemes.get(name):
        return sums.signal / sums.entries
    values, counts = held.evaluation.finite()
    return float((values * values * counts).sum()) / held.evaluation.count


def _of_cache(reading: SiteReading, held: Distributions, cache: Cache) -> FormatDistortion:
    """From the histograms, over all of the evaluation split. Raises MeasureError without a calibration to scale by."""
    if not reading.has_both_splits:
        raise MeasureError(f"{reading.site.name}: a split holds nothing of it\n  measure on two samples or more")
    deployed = 0.0 if reading.breaks_as_deployed else reading.as_deployed or 0.0
    largest = {
        ONE: cache.top,
        CALIBRATION: max(held.calibration.max_abs, deployed),
        EXACT: max(reading.finite_max, deployed),
    }[cache.scale]
    return static_distortion(held.evaluation, cache.number, cache.top, largest, _dtype(reading))


def _dtype(reading: SiteReading) -> str:
    return "float32" if reading.dtype == "float64" else reading.dtype


def _exact(held: Distributions, dtype: str, scheme: Scheme, as_deployed: float) -> FormatDistortion | None:
    """From the histograms, where one static scale holds for all of the site; that is calibrated on text as it is
    deployed too.
    """
    how = scheme.activations
    if how is None or not how.static or held.channels is None or len(held.channels.parts) != 1:
        return None
    if how.is_integer:
        return integer_distortion(held.calibration, held.evaluation, "max_abs", how.bits, as_deployed)
    return fp8_distortion(held.calibration, held.evaluation, "float32" if dtype == "float64" else dtype, as_deployed)


def _join(exact: FormatDistortion, sums: SchemeSums | None) -> SchemeDistortion:
    return SchemeDistortion(
        sqnr_db=exact.sqnr_db,
        sqnr_error_db=0.0,
        rel_rmse=exact.rel_rmse,
        rel_mae=exact.rel_mae,
        clip_rate=exact.clip_rate,
        flush_to_zero=exact.flush_to_zero,
        levels_used=exact.levels_used,
        **_of_tokens(sums),  # type: ignore[arg-type]
    )


def _sampled(sums: SchemeSums, entries: int) -> SchemeDistortion:
    population = round(sums.tokens * entries / sums.entries)
    return SchemeDistortion(
        sqnr_db=sums.sqnr_db,
        sqnr_error_db=sums.sqnr_error_db(population),
        rel_rmse=_root(sums.error, sums.signal),
        rel_mae=_share(sums.error_abs, sums.signal_abs),
        clip_rate=_share(sums.clipped, sums.entries),
        flush_to_zero=_share(sums.flushed, sums.nonzero),
        levels_used=len(sums.levels),
        **_of_tokens(sums),  # type: ignore[arg-type]
    )


def _of_tokens(sums: SchemeSums | None) -> dict[str, float]:
    if sums is None:
        return {"token_median_db": math.nan, "token_low_db": math.nan, "calm_sqnr_db": math.nan, "tokens": 0}
    return {
        "token_median_db": sums.token_quantile_db(0.5),
        "token_low_db": sums.token_quantile_db(0.01),
        "calm_sqnr_db": sums.calm_sqnr_db,
        "tokens": sums.tokens,
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _root(error: float, signal: float) -> float:
    return math.sqrt(error / signal) if signal and not math.isnan(error) else (0.0 if error == 0 else math.nan)
