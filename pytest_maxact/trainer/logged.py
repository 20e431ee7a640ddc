"""What the loggers of a training run are given of a Record: few plain numbers, all finite. No torch.

A figure that is not finite has no key of its own: loggers draw NaN as nothing, or fail on it. `maxact/nonfinite` counts
what was there.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

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


def logged_by(state: Any) -> dict[int, Mapping[str, float]]:
    """By step, in order, what a run's own log has of its measurements, those that were not made included."""
    own = (entry for entry in state.log_history if any(key.startswith(PREFIX) for key in entry))
    return dict(sorted({entry["step"]: entry for entry in own}.items()))


def is_of(record: Record, entry: Mapping[str, float]) -> bool:
    """Whether a Record is the one that an entry of the log is of, and not of other weights: by all of its maxima."""
    told = {name: value if math.isfinite(value) else None for name, value in _maxima(record).items()}
    return all(entry.get(f"{PREFIX}{name}") == value for name, value in told.items())


def _maxima(record: Record) -> dict[str, float]:
    """M, and the largest of every kind of site."""
    largest = {"M": record.carrier.max_abs}
    for reading in record.sites.values():
        largest[reading.site.kind] = max(largest.get(reading.site.kind, 0.0), reading.max_abs)
    return largest


def _of(record: Record) -> Iterator[tuple[str, float]]:
    yield from _maxima(record).items()
    yield "nonfinite", sum(reading.nonfinite for reading in record.sites.values())
    yield "int8_sqnr_db", metric_value(record.carrier, INT8_SQNR)
    if record.predictions is not None and record.predictions.tokens:
        yield from {"margin": record.predictions.margin, "perplexity": record.predictions.perplexity}.items()
    yield "massive_layers", sum(reading.is_massive for reading in stream(record))
    if not any(reading.nonfinite for reading in stream(record)):
        layer = first_jump(record)
        yield "first_jump_layer", -1 if layer is None else layer
