"""Records as rows: flat, alike, in depth order."""

import math

from pytest_maxact.record.table import table
from tests.support import records
from tests.support.records import CALM, with_values


def test_rows_are_flat_alike_and_in_depth_order() -> None:
    rows = table(with_values())
    assert [row["site"] for row in rows] == list(CALM)
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert all(isinstance(value, (str, int, float, type(None))) for row in rows for value in row.values())


def test_a_row_says_what_was_seen_and_where() -> None:
    row = table(with_values())[1]
    assert (row["site"], row["kind"], row["layer"], row["max_abs"], row["channel"]) == (
        "layers.0.hidden",
        "hidden",
        0,
        8.0,
        3,
    )
    assert row["rms"] == math.sqrt((16 + 1 + 4 + 64) / 4)
    assert (row["q0.5"], row["elements"], row["massive_tokens"]) == (2.0, 8, 0)


def test_a_site_that_is_not_finite_has_no_finite_figure() -> None:
    row = table(records.record({**CALM, "layers.1.hidden": [[math.nan, 1.0, 2.0, 8.0]]}))[3]
    assert (row["nonfinite"], row["max_abs"], row["rms"]) == (2, math.inf, math.inf)
    assert math.isnan(float(row["int8_sqnr_db"] or 0))
