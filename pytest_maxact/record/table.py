"""A Record as rows of plain values, one per site: for a data frame or a CSV file,
`pandas.DataFrame(table(record))`.
"""

from pytest_maxact.errors import MeasureError
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.metrics.metric import INT8_SQNR, RMS, WEIGHT_SQNR, Metric, scheme_metric
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record

Row = dict[str, str | int | float | None]
_METRICS = {
    "rms": RMS,
    "q0.5": Metric.parse("quantile.0.5"),
    "q0.999": Metric.parse("quantile.0.999"),
    "int8_sqnr_db": INT8_SQNR,
    "int8_flush_to_zero": Metric.parse("int8.max_abs.flush_to_zero"),
}


def table(record: Record) -> list[Row]:
    """A row per site in depth order, every row with the same keys.

    `elements` counts entries; `max_abs`, `rms` and quantiles are magnitudes, inf where an entry is not finite; `_db`
    are decibels; shares lie in [0, 1]; `massive_tokens` is None where that is not tested. With schemes,
    `<SCHEME>.sqnr_db` of inputs of linear layers and `<SCHEME>.weight_sqnr_db`.
    """
    return [_row(reading, record.provenance.schemes) for reading in record.sites.values()]


def _row(reading: SiteReading, schemes: tuple[str, ...]) -> Row:
    peak = reading.peaks[0] if reading.peaks else None
    row: Row = {
        "site": reading.site.name,
        "kind": reading.site.kind,
        "layer": reading.site.layer,
        "module": reading.site.module,
        "dtype": reading.dtype,
        "width": reading.width,
        "elements": reading.count,
        "nonfinite": reading.nonfinite,
        "max_abs": reading.max_abs,
        "sample": peak.sample if peak else None,
        "position": peak.position if peak else None,
        "token": peak.token if peak else None,
        "channel": peak.channel if peak else None,
        **{name: metric_value(reading, metric) for name, metric in _METRICS.items()},
        "massive_tokens": reading.massive.tokens if reading.massive else None,
    }
    for name in schemes:
        scheme = SCHEMES[name]
        if scheme.activations or scheme.cast or scheme.cache:
            row[f"{name}.sqnr_db"] = _figure(reading, scheme_metric(name, "sqnr_db"))
        if scheme.weights or scheme.cast:
            row[f"{name}.weight_sqnr_db"] = _figure(reading, scheme_metric(name, WEIGHT_SQNR))
    return row


def _figure(reading: SiteReading, metric: Metric) -> float | None:
    """None where the site has no such figure, as the residual stream has none of a weight."""
    try:
        return metric_value(reading, metric)
    except MeasureError:
        return None
