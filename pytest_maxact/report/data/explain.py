"""What explains a name, for a program."""

from collections.abc import Iterable
from typing import Any

from pytest_maxact.judge.explain.entry import Entry


def explained_data(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """`[{"name", "group", "what", "unit", "measured", "breach", "todo": [{"cause", "do"}, ...]}, ...]`."""
    return [
        {
            "name": entry.name,
            "group": entry.group,
            "what": entry.what,
            "unit": entry.unit,
            "measured": entry.measured,
            "breach": entry.breach,
            "todo": [{"cause": cause, "do": do} for cause, do in entry.todo],
        }
        for entry in entries
    ]
