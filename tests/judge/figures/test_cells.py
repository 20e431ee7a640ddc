"""Every site is a cell, with its limit and where its largest entry sat; what is not finite says so."""

import math

from pytest_maxact.judge.figures.cells import cells_of
from pytest_maxact.judge.verdict.check import check
from tests.support import records
from tests.support.findings import limit
from tests.support.records import CALM, with_values

HIDDEN = "layers.0.hidden"


def test_cells_hold_what_the_record_holds_of_every_site() -> None:
    record = with_values()
    cells = {cell.site: cell for cell in cells_of(record)}
    assert list(cells) == list(record.sites)
    assert (cells[HIDDEN].value, cells[HIDDEN].channel, cells[HIDDEN].token) == (8.0, 3, "t0")
    assert [cells[name].depth for name in ("embedding", "layers.1.hidden", "final_norm")] == [-1, 1, 2]
    assert all((cell.limit, cell.used, cell.failing) == (None, None, ()) for cell in cells.values())


def test_a_cell_shows_the_tightest_limit_and_every_check_that_fails() -> None:
    record = with_values()
    findings = [check(record, limit(one, HIDDEN, metric)) for one, metric in ((4.0, "max_abs"), (1.0, "rms"))]
    (cell,) = [cell for cell in cells_of(record, findings) if cell.site == HIDDEN]
    assert (cell.limit, cell.used, cell.stated) == (4.0, 2.0, "limits.yaml:7")
    assert cell.failing == ("max_abs", "rms")


def test_a_site_that_is_not_finite_has_a_cell_that_says_so() -> None:
    record = records.record({**CALM, HIDDEN: [[math.nan, 1.0, 2.0, -8.0]]})
    (cell,) = [cell for cell in cells_of(record) if cell.site == HIDDEN]
    assert (cell.value, cell.finite, cell.nonfinite, cell.channel) == (math.inf, 8.0, 2, 0)
