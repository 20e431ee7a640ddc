"""What writes massive channels, for a program."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pytest_maxact.record.cause import Cause
from pytest_maxact.report.data.null import plain


def causes_data(causes: Sequence[Cause]) -> list[dict[str, Any]]:
    """`[{"channel", "site", "largest", "ratio", "token", ..., "found": {...} or null, "trials": [{...}]}]`; what is not
    finite is null.
    """
    return [
        plain(
            {
                **asdict(cause),
                "found": plain(asdict(cause.found)) if cause.found else None,
                "trials": [plain(asdict(trial)) for trial in cause.trials],
            }
        )
        for cause in causes
    ]
