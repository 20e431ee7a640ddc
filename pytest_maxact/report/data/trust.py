"""How far a Record can be trusted, for a program."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pytest_maxact.judge.trust.subsets import Subset
from pytest_maxact.judge.trust.trust import Trust, TrustedMaximum


def trust_data(trust: Trust) -> dict[str, Any]:
    """`{"schema", "model", "samples", "tokens", "M": {...}, "sites": {name: {...}}, "figures": {name: {...}}, "untold":
    [...]}`; what is no finite number is null."""
    return {
        "schema": 1,
        "model": trust.model,
        "samples": trust.samples,
        "tokens": trust.tokens,
        "M": _maximum(trust.m) if trust.m else None,
        "sites": {found.name: _maximum(found) for found in trust.sites},
        "figures": {
            one.name: {"value": one.value, "interval": [one.low, one.high], "samples": one.samples, "holds": one.holds}
            for one in trust.figures
        },
        "untold": list(trust.untold),
    }


def subsets_data(model: str, rows: Sequence[Subset]) -> list[dict[str, Any]]:
    """Rows by the names of the paper's table."""
    return [
        {
            "model": model,
            "subset_size": row.size,
            "repeat": f"r{row.repeat}",
            "samples": row.samples,
            "global_max_abs": row.m,
            "location": row.site,
        }
        for row in rows
    ]


def _maximum(found: TrustedMaximum) -> dict[str, Any]:
    curve = asdict(found.saturation)
    beyond = found.beyond
    return {
        "site": found.site,
        "value": found.value,
        "sample": found.sample,
        "position": found.position,
        "channel": found.channel,
        "saturation": {name: list(told) if isinstance(told, tuple) else told for name, told in curve.items()},
        "next_sample_above_at_most": beyond.rate,
        "another_corpus": {"reaches": beyond.again, "probability": beyond.reached, "above_at_most": beyond.above},
        "halves": list(found.halves),
        "redrawn": list(found.redrawn),
    }
