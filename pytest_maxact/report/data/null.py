"""JSON has no infinity and no NaN: what is no finite number is null there."""

import math
from collections.abc import Mapping
from typing import Any


def finite_or_null(value: float) -> float | None:
    """A finite number, or null."""
    return value if math.isfinite(value) else None


def plain(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The same, every float finite or null."""
    return {name: finite_or_null(value) if isinstance(value, float) else value for name, value in figures.items()}
