"""A series for a program."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.series.trend import Stage, can_be_continued, crossings, milestones, trends


def as_data(series: Sequence[Stage], limits: Iterable[Limit] = (), horizon: int | None = None) -> dict[str, Any]:
    """For a program; what is no finite number is null, and so are `crossings` without a horizon, or of a series that
    cannot be continued.
    """
    crossing = crossings(series, limits, horizon) if horizon is not None and can_be_continued(series) else None
    return {
        "schema": 1,
        "checkpoints": [
            {
                "name": row.name,
                "step": row.step,
                "M": _number(row.m),
                "site": row.site,
                "to_previous": _number(row.to_previous),
                "to_first": _number(row.to_first),
                "first_jump_layer": row.jump,
                "massive_layers": row.massive_layers,
                "int8_sqnr_db": _number(row.int8_sqnr_db),
            }
            for row in milestones(series)
        ],
        "trends": {
            trend.kind: {
                "values": [_number(value) for value in trend.values],
                "growth_per_1000_steps": _number(trend.growth),
            }
            for trend in trends(series)
        },
        "horizon": horizon,
        "crossings": (
            [
                {
                    "site": found.limit.site,
                    "value": found.value,
                    "limit": found.limit.bound,
                    "growth_per_1000_steps": found.growth,
                    "step": found.step,
                }
                for found in crossing
            ]
            if crossing is not None
            else None
        ),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
