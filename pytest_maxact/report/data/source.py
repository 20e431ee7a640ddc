"""An artifact against its source for a program: plain data, with null for what is no finite number."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pytest_maxact.record.source import AgainstSource
from pytest_maxact.report.data.null import finite_or_null


def source_data(found: AgainstSource) -> dict[str, Any]:
    """`{"source", "weights": {"low", "lows": {name: {...}}, ...}, "predictions": {"figures", ...}, "noise"}`."""
    data: dict[str, Any] = _plain(asdict(found))
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return finite_or_null(value) if isinstance(value, float) else value
