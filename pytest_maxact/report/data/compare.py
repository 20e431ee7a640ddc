"""A comparison for a program."""

from typing import Any

from pytest_maxact.judge.compare.comparison import Comparison, SiteChange
from pytest_maxact.report.data.null import plain


def comparison_data(comparison: Comparison) -> dict[str, Any]:
    """For a program; what is no finite number is null."""
    parted = comparison.parted
    return {
        "parted_at": parted.site if parted else None,
        "first_jump_layer": {"before": comparison.jump_before, "after": comparison.jump_after},
        "gone": list(comparison.gone),
        "new": list(comparison.new),
        "sites": {change.site: plain(_change(change)) for change in comparison.changes},
    }


def _change(change: SiteChange) -> dict[str, Any]:
    names = (
        "site",
        "before",
        "after",
        "ratio",
        "shift",
        "int8_before",
        "int8_after",
        "massive_before",
        "massive_after",
    )
    return {name: getattr(change, name) for name in names}
