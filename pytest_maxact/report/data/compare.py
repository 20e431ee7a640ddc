"""A comparison for a program."""

import math
from dataclasses import asdict
from typing import Any

from pytest_maxact.judge.compare.comparison import Comparison, SiteChange


def as_data(comparison: Comparison) -> dict[str, Any]:
    """For a program; what is no finite number is null."""
    parted = comparison.parted
    return {
        "parted_at": parted.site if parted else None,
        "first_jump_layer": {"before": comparison.jump_before, "after": comparison.jump_after},
        "gone": list(comparison.gone),
        "new": list(comparison.new),
        "sites": {change.site: _plain(change) for change in comparison.changes},
    }


def _plain(change: SiteChange) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(change).items()
    }
