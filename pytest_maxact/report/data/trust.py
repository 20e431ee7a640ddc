"""How far a Record can be trusted, for a program."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pytest_maxact.judge.trust.carries import Carried, Held
from pytest_maxact.judge.trust.effects import TrustedFigure
from pytest_maxact.judge.trust.subsets import Subset
from pytest_maxact.judge.trust.trust import Trust, TrustedMaximum
from pytest_maxact.numbers.tails import Tail


def trust_data(trust: Trust) -> dict[str, Any]:
    """`{"schema", "model", "samples", "tokens", "M": {...}, "sites": {name: {...}}, "figures": {name: {...}},
    "ratios": {site: {name: {...}}}, "untold": [...]}`; what is no finite number is null."""
    return {
        "schema": 1,
        "model": trust.model,
        "samples": trust.samples,
        "tokens": trust.tokens,
        "M": _maximum(trust.m) if trust.m else None,
        "sites": {found.name: _maximum(found) for found in trust.sites},
        "figures": {one.name: _figure(one) for one in trust.figures},
        "ratios": {
            site: {one.name: _figure(one) for one in trust.ratios if one.site == site}
            for site in dict.fromkeys(one.site for one in trust.ratios)
        },
        "untold": list(trust.untold),
    }


def _figure(one: TrustedFigure) -> dict[str, Any]:
    return {
        "value": one.value,
        "interval": [one.low, one.high],
        "halves": list(one.halves),
        "samples": one.samples,
        "holds": one.holds,
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
        "ahead": _ahead(found.tail),
        "carried": _carried(found.carried),
    }


def _ahead(tail: Tail | None) -> dict[str, Any] | None:
    """What more text would reach; `refused` says why that is not told."""
    if tail is None:
        return None
    return {
        "refused": tail.refused or None,
        "threshold": tail.threshold if tail.ahead else None,
        "excesses": tail.excesses,
        "shape": tail.shape if tail.ahead else None,
        "times": [
            {"times": one.times, "expected": one.expected, "interval": [one.low, one.high]} for one in tail.ahead
        ],
    }


def _carried(found: Carried | None) -> dict[str, Any] | None:
    if found is None:
        return None
    by: dict[str, Mapping[Any, Held]] = {
        "category": found.by_category,
        "place": found.by_place,
        "token": found.by_token,
        "channel": found.by_channel,
    }
    return {
        "samples": found.entries,
        "alone": {"channel": found.channel, "position": found.position, "token": found.token},
        "by": {
            what: [{what: name, "max_abs": one.largest, "samples": one.entries} for name, one in names.items()]
            for what, names in by.items()
        },
    }
