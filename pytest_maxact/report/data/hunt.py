"""What a search found, for a program."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pytest_maxact.numbers.ratio import ratio
from pytest_maxact.record.hunt import Hunted
from pytest_maxact.report.data.null import plain


def hunt_data(found: Sequence[Hunted]) -> list[dict[str, Any]]:
    """`[{"site", "corpus", "found", "ratio", "how", "ids", "text", "peak", ...}]`; what is not finite is null."""
    return [plain({**asdict(one), "ratio": ratio(one.corpus, one.found)}) for one in found]
