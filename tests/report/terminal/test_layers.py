"""The rows of layers: what is at fault is marked, in colour and in words, and nothing else is."""

import re
from dataclasses import replace
from datetime import date

import pytest

from pytest_maxact.judge.limits.limit import CARRIER
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.portray import portray
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.report.terminal.layers import layers_grid
from pytest_maxact.report.terminal.screen import Screen, to_text
from tests.support import records
from tests.support.findings import HIDDEN, INT8, limit

MLP = "layers.0.mlp_output"
RECORD = records.record(
    {"embedding": [[1.0, 0.5]], HIDDEN: [[8.0, 0.25], [4.0, 0.125]], MLP: [[2.0, 0.75]], "final_norm": [[3.0, 1.0]]}
)
WAIVER = Waiver(
    site="*", metric="*", checkpoint="*", reason="known", owner="ann", until=date(2099, 1, 1), file="mine.yaml", line=4
)


def row(*findings: Finding, name: str = "0", color: bool = False) -> str:
    text = to_text([layers_grid(portray(RECORD, findings=findings).rows, Screen())[0]], Screen(color=color))
    plain = re.compile(r"\x1b\[[0-9;]*m")
    return next((line for line in text.splitlines() if plain.sub("", line).strip().startswith(f"{name} ")), "")


def found(bound: float, site: str = HIDDEN, metric: str = "max_abs", sense: str = "max") -> Finding:
    return check(RECORD, limit(bound, site, metric, sense))


ROOMY, INT8_BREACH = found(8000.0), found(90.0, CARRIER, INT8, "min")


def test_a_record_that_nothing_judges_has_no_columns_of_limits() -> None:
    def head(*findings: Finding) -> str:
        grid, _ = layers_grid(portray(RECORD, findings=findings).rows, Screen())
        return to_text([grid], Screen()).splitlines()[0]

    assert head().split() == ["layer", "max|a|", "INT-8", "attn", "mlp", "gate"]
    assert head(ROOMY).split()[:4] == ["layer", "max|a|", "limit", "used"]


def test_a_breach_of_int8_marks_the_figure_of_int8_and_leaves_the_maximum_alone() -> None:
    assert row(ROOMY, INT8_BREACH).split()[:5] == ["0", "8", "8000", "FAIL", "INT-8"]
    coloured = row(ROOMY, INT8_BREACH, color=True)
    red = re.findall(r"\x1b\[31m *([^\x1b]+?) *\x1b\[0m", coloured)
    assert [cell.strip() for cell in red] == ["0", f"{INT8_BREACH.value:.1f}"], "its label and the figure at fault"
    assert "<1%" not in coloured


def test_a_breach_of_the_maximum_marks_it_and_not_the_figure_of_int8() -> None:
    coloured = row(found(2.0), color=True)
    red = [cell.strip() for cell in re.findall(r"\x1b\[31m *([^\x1b]+?) *\x1b\[0m", coloured)]
    assert red == ["0", "8", "2"]
    assert "██████████ FAIL" in row(found(2.0))


@pytest.mark.parametrize(
    ("bound", "blocks", "words"),
    [(8000.0, 0, "<1%"), (8.01, 9, "100%"), (8.5, 9, "94%"), (16.0, 5, "50%"), (8.0, 10, "100%"), (7.99, 10, "FAIL")],
)
def test_a_bar_is_full_only_where_all_of_a_limit_is_used(bound: float, blocks: int, words: str) -> None:
    assert f" {'█' * blocks}{'░' * (10 - blocks)} {words}" in row(found(bound))


def test_a_maximum_that_is_no_number_fills_its_bar() -> None:
    broken = records.record({"embedding": [[1.0]], HIDDEN: [[float("nan")]], "final_norm": [[1.0]]})
    rows = portray(broken, findings=[check(broken, limit(8.0))]).rows
    assert "0     NaN/Inf     8 ██████████ FAIL     -" in to_text([layers_grid(rows, Screen())[0]], Screen())


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (found(0.1, metric="rms"), "FAIL rms"),
        (found(9000.0, metric="max_abs.min", sense="min"), "FAIL small"),
        (found(90.0, metric="quantile.0.5", sense="min"), "FAIL small"),
        (found(90.0, metric="int4.max_abs.sqnr_db", sense="min"), "FAIL INT-4"),
        (found(0.1, metric="quantile.0.9"), "FAIL quantile"),
    ],
)
def test_what_fails_beside_the_maximum_is_named_in_its_row(finding: Finding, words: str) -> None:
    assert f" 8000 {words} " in row(ROOMY, finding)
    assert f" 8000 {words.replace('FAIL', 'waived')} " in row(ROOMY, replace(finding, waiver=WAIVER))


def test_several_that_fail_are_counted() -> None:
    assert " FAIL 2 checks " in row(ROOMY, INT8_BREACH, found(0.1, metric="rms"))


def test_what_is_waived_is_marked_as_waived_and_never_as_failing() -> None:
    waived = row(replace(found(2.0), waiver=WAIVER))
    assert "████████ waived" in waived
    assert "FAIL" not in waived
    assert "\x1b[33m" in row(replace(found(2.0), waiver=WAIVER), color=True)


def test_another_site_of_a_layer_has_a_row_where_a_check_of_it_fails_or_is_waived() -> None:
    assert row(found(1.0, MLP), name="mlp_output").split()[:3] == ["mlp_output", "2", "1"]
    assert "waived" in row(replace(found(1.0, MLP), waiver=WAIVER), name="mlp_output")
    assert row(found(10.0, MLP), name="mlp_output") == ""


def test_a_check_that_fails_comes_before_one_that_is_waived() -> None:
    assert " FAIL INT-8 " in row(replace(found(2.0), waiver=WAIVER), INT8_BREACH)
