"""A series for a program."""

from typing import Any

from pytest_maxact.judge.series.series import Series
from pytest_maxact.report.data.null import finite_or_null


def series_data(series: Series) -> dict[str, Any]:
    """For a program; what is no finite number is null, and so are `crossings` without a horizon, or of a series that
    cannot be continued.
    """
    outlook = series.outlook
    return {
        "schema": 1,
        "checkpoints": [
            {
                "name": row.name,
                "step": row.step,
                "M": finite_or_null(row.m),
                "site": row.site,
                "to_previous": finite_or_null(row.to_previous),
                "to_first": finite_or_null(row.to_first),
                "first_jump_layer": row.jump,
                "massive_layers": row.massive_layers,
                "int8_sqnr_db": finite_or_null(row.int8_sqnr_db),
            }
            for row in series.milestones
        ],
        "trends": {
            trend.kind: {
                "values": [finite_or_null(value) for value in trend.values],
                "growth": finite_or_null(trend.growth),
                "per_steps": trend.unit,
            }
            for trend in series.trends
        },
        "horizon": outlook.horizon if outlook else None,
        "crossings": (
            [
                {
                    "site": found.limit.site,
                    "value": found.value,
                    "limit": found.limit.bound,
                    "growth": found.growth,
                    "per_steps": found.unit,
                    "seen_over_steps": found.span,
                    "step": found.step,
                }
                for found in outlook.crossings
            ]
            if outlook and outlook.crossings is not None
            else None
        ),
    }
