"""What the loggers of a training run are given of a Record: few plain numbers, all finite. No torch.

A figure that is not finite has no key of its own: loggers draw NaN as nothing, or fail on it. `maxact/nonfinite` counts
what was there.
"""

import math
from collections.abc import Iterator

from pytest_maxact.judge.compare.changes import growth
from pytest_maxact.judge.compare.jumps import first_jump, stream
from pytest_maxact.record.metrics.metric import INT8_SQNR
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.record import Record

PREFIX = "maxact/"
SECONDS = f"{PREFIX}seconds"
"""Logged at every measurement that was made, and only then."""
BREACHES = f"{PREFIX}breaches"
"""How many checks failed and were not waived."""


def figures(record: Record, first: Record, breaches: int, seconds: float) -> dict[str, float]:
    """Of one measurement; `first` is the run's first one, to which `maxact/growth` refers."""
    found = {**dict(_of(record)), "growth": growth(first.carrier.max_abs, record.carrier.max_abs, 0.0)}
    found |= {"samples": len(record.provenance.samples), "seconds": seconds, "breaches": breaches}
    return {f"{PREFIX}{name}": float(value) for name, value in found.items() if math.isfinite(value)}


def _of(record: Record) -> Iterator[tuple[str, float]]:
    yield "M", record.carrier.max_abs
    largest: dict[str, float] = {}
    for reading in record.sites.values():
        largest[reading.site.kind] = max(largest.get(reading.site.kind, 0.0), reading.max_abs)
    yield from largest.items()
    yield "nonfinite", sum(reading.nonfinite for reading in record.sites.values())
    yield "int8_sqnr_db", metric_value(record.carrier, INT8_SQNR)
    if record.predictions is not None and record.predictions.tokens:
        yield from {"margin": record.predictions.margin, "perplexity": record.predictions.perplexity}.items()
    yield "massive_layers", sum(reading.is_massive for reading in stream(record))
    if not any(reading.nonfinite for reading in stream(record)):
        layer = first_jump(record)
        yield "first_jump_layer", -1 if layer is None else layer
