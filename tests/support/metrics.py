"""Figures of readings by the names that limits use."""

from pytest_maxact.record.metrics.metric import Metric
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.reading import SiteReading


def value_of(reading: SiteReading, name: str) -> float:
    return metric_value(reading, Metric.parse(name))
