"""Figures of one site by the names that limits, reports and tests use for them."""

import math
import re

from pytest_maxact.errors import InputError, MeasureError, setting
from pytest_maxact.numbers.formats import BF16_MAX, FP16_MAX, FormatDistortion
from pytest_maxact.numbers.schemes import SCHEMES, Scheme
from pytest_maxact.record.metrics.figures import integer_figures, quantile, rms
from pytest_maxact.record.metrics.scheme import QUANTITIES, scheme_distortion
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record

_METRICS = (
    "there are max_abs, nonfinite, rms, unreached_experts, quantile.<q>, int<bits>.<policy>.<quantity> and"
    " <SCHEME>.<quantity>, as in W8A8.sqnr_db"
)
_INTEGERS = re.compile(r"int(\d+)")
_INT8_QUANTITIES = tuple(name for name in FormatDistortion.__dataclass_fields__ if name != "policy")


def metric_value(reading: SiteReading, metric: str) -> float:
    """A metric by its name: `max_abs`, `nonfinite`, `rms`, `unreached_experts` (a share), `quantile.<q>`,
    `int<bits>.<policy>.<quantity>`, `<SCHEME>.<quantity>` with a quantity of `SchemeDistortion`,
    `<SCHEME>.weight_sqnr_db` or, for FP16 and BF16, `.headroom`.

    With non-finite entries at the site, magnitudes are inf and errors NaN: neither passes a limit. Raises InputError
    for an unknown name, and for a figure that a slim Record did not keep.
    """
    name, _, detail = metric.partition(".")
    policy, _, quantity = detail.rpartition(".")
    try:
        if metric == "nonfinite":
            return float(reading.nonfinite)
        if metric == "max_abs":
            return reading.max_abs
        if metric == "rms":
            return math.inf if reading.nonfinite else rms(reading)
        if metric == "unreached_experts":
            return (
                len(reading.unreached_experts) / len(reading.tokens_per_expert)
                if reading.tokens_per_expert
                else math.nan
            )
        if name == "quantile":
            value = quantile(reading, float(detail))
            return math.inf if reading.nonfinite else value
        if (integers := _INTEGERS.fullmatch(name)) and quantity in _INT8_QUANTITIES:
            error = integer_figures(reading, policy, int(integers[1]))
            return math.nan if reading.nonfinite else float(getattr(error, quantity))
        if name in SCHEMES:
            return _scheme_value(reading, SCHEMES[name], detail)
    except ValueError as error:
        raise InputError(f"no metric called {metric!r}: {error}\n  {_METRICS}") from error
    raise InputError(f"no metric called {metric!r}\n  {_METRICS}")


def _scheme_value(reading: SiteReading, scheme: Scheme, quantity: str) -> float:
    """Raises ValueError for a quantity that the scheme does not have, MeasureError where the Record lacks it."""
    if quantity == "headroom" and scheme.cast:
        largest = FP16_MAX if scheme.cast == "float16" else BF16_MAX
        return 0.0 if reading.nonfinite else largest / reading.max_abs if reading.max_abs else math.inf
    if quantity == "weight_sqnr_db" and (scheme.weights or scheme.cast):
        errors = [errors[scheme.name] for errors in reading.weights.values() if scheme.name in errors]
        if not errors:
            raise MeasureError(
                f"{reading.site.name}: the Record holds nothing of its weights under {scheme.name}\n"
                f"  measure again with {setting('schemes')} {scheme.name}"
            )
        values = [error.lowest_db for error in errors]
        return math.nan if any(math.isnan(value) for value in values) else min(values)
    if quantity in QUANTITIES and (scheme.activations or scheme.cast):
        error = scheme_distortion(reading, scheme.name)
        return math.nan if reading.nonfinite else float(getattr(error, quantity))
    raise ValueError(f"{scheme.name} has no {quantity!r}")


def is_integer_metric(metric: str) -> bool:
    """Whether a metric needs both splits: a scale from calibration and the error on evaluation samples."""
    return _INTEGERS.match(metric) is not None


def beyond_fp16(record: Record) -> list[SiteReading]:
    """Sites that float16 cannot hold: a finite entry above 65 504, or one that is not finite already."""
    return [reading for reading in record.sites.values() if not (metric_value(reading, "max_abs") <= FP16_MAX)]
