"""Readings and residual streams whose changes are known, and limits on them."""

import math
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st

from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.record.metrics.metric import Metric
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record
from tests.support import records
from tests.support.records import bf16

BROKEN = [math.nan, math.inf, -math.inf]
patient = settings(deadline=None)
positive = st.floats(1e-6, 1e30)
entries = st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=40).map(bf16)


def reading(*values: float) -> SiteReading:
    return records.reading(values, values)


def residual(*maxima: float, massive: Sequence[int] | None = None) -> Record:
    """A Record whose embedding and layers have these largest magnitudes, and so many massive tokens at each layer."""
    names = ["embedding", *(f"layers.{i}.hidden" for i in range(len(maxima) - 1))]
    record = records.record({name: [[value, 0.0]] for name, value in zip(names, maxima, strict=True)})
    if massive is None:
        return record
    found = {
        name: replace(record[name], massive=Massive(tokens=n, entries=n))
        for name, n in zip(names[1:], massive, strict=True)
    }
    return replace(record, sites={**record.sites, **found})


def relative(metric: Metric, bound: float, site: str = "layers.0.hidden", floor: float | None = None) -> Limit:
    return Limit(
        site=site,
        metric=metric,
        bound=bound,
        sense="max",
        rule="regression against v1",
        source="",
        file="limits.yaml",
        line=3,
        against="v1",
        floor=floor,
    )
