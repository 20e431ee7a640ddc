"""A series for programs: every figure, and strict JSON whatever was seen."""

import json
import math

import pytest

from tests.support.reports import series_data_of
from tests.support.stages import HIDDEN, limit, stage


def test_data_hold_every_row_trend_and_crossing() -> None:
    stages = [stage(2.0, 0), stage(4.0, 1000, massive=3)]
    data = series_data_of(stages, [limit(10.0)], 5000)
    assert [
        (row["name"], row["step"], row["M"], row["site"], row["to_previous"], row["to_first"])
        for row in data["checkpoints"]
    ] == [
        ("step-0", 0, 2.0, HIDDEN, None, None),
        ("step-1000", 1000, 4.0, HIDDEN, 2.0, 2.0),
    ]
    assert [(row["first_jump_layer"], row["massive_layers"]) for row in data["checkpoints"]] == [(None, 0), (None, 1)]
    assert data["trends"]["hidden"] == {"values": [2.0, 4.0], "growth": pytest.approx(2.0), "per_steps": 1000}
    assert data["crossings"] == [
        {
            "site": HIDDEN,
            "value": 4.0,
            "limit": 10.0,
            "growth": pytest.approx(2.0),
            "per_steps": 1000,
            "seen_over_steps": 1000,
            "step": 4000.0,
        }
    ]
    assert (data["horizon"], data["schema"]) == (5000, 1)
    assert json.loads(json.dumps(data, allow_nan=False)) == data


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0])
def test_data_are_strict_json_whatever_was_seen(bad: float) -> None:
    stages = [stage(bad, 0), stage(4.0, None, "final"), stage(bad, 1000)]
    data = series_data_of(stages, [limit(10.0)], 5000)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    if not math.isfinite(bad):
        assert [row["M"] for row in data["checkpoints"]] == [None, 4.0, None]
        assert data["trends"]["hidden"]["values"] == [None, 4.0, None]


def test_no_crossings_and_none_told_are_told_apart() -> None:
    known, unknown = [stage(2.0, 0), stage(4.0, 1000)], [stage(2.0, 0), stage(4.0, 1000), stage(8.0, None, "final")]
    assert series_data_of(known, [limit(10.0)], 1001)["crossings"] == []
    assert series_data_of(known, [limit(10.0)])["crossings"] is None
    assert series_data_of(unknown, [limit(10.0)], 10**6)["crossings"] is None
