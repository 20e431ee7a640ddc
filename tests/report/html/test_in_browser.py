"""Pages as a browser shows them: one Record, a breach, a baseline, a series, an artifact, a deep mixture of experts."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from pytest_maxact.judge.account import Account
from tests.support.browser import DESK, PAPER, PHONE, Opened
from tests.support.pages import CASES, drawn

Opening = Callable[[str], Opened]
Accounts = Callable[[str], Account]
MOST_BYTES = 3_000_000
MARKS = """name => {
    const chart = document.querySelector(`.chart[data-figure="${name}"]`);
    chart.scrollIntoView({ block: "center" });
    const own = [...chart.querySelectorAll(".mark-group .role-mark path, .mark-group .role-mark text")];
    return own.filter((e) => { const r = e.getBoundingClientRect(); return r.width > 0 || r.height > 0; }).map((e) => {
        const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2, r.width, r.height];
    });
}"""
TOOLTIP = """() => [...document.querySelectorAll("#vg-tooltip-element.visible tr")]
    .map((row) => [...row.cells].map((cell) => cell.textContent.trim()))"""


def test_it_asks_for_nothing_and_complains_of_nothing(case: str, opening: Opening) -> None:
    found = opening(case)
    assert found.asked == []
    assert found.said == []
    ids = found.page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert [one for one in set(ids) if ids.count(one) > 1] == []
    assert found.path.stat().st_size < MOST_BYTES


def test_every_figure_is_drawn(case: str, opening: Opening, accounts: Accounts) -> None:
    found, figures = opening(case), drawn(accounts(case))
    assert figures
    assert found.page.evaluate("+document.documentElement.dataset.drawn") == len(figures)
    page = found.look()
    empty = [one.name for one in figures if not page.evaluate(MARKS, one.name)]
    assert empty == []


def hover(page: Any, x: float, y: float) -> dict[str, str]:
    page.mouse.move(x + 1, y)
    page.mouse.move(x, y)
    page.wait_for_timeout(30)
    return dict(row for row in page.evaluate(TOOLTIP) if len(row) == 2)


NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def tells(said: dict[str, str], row: str) -> bool:
    """Whether what is shown of a mark is all of this row: its words, and its numbers as far as they are rounded."""
    numbers = [float(number) for number in NUMBER.findall(row)]
    for text in said.values():
        if text not in row and not all(
            any(math.isclose(float(number), other, rel_tol=1e-3) for other in numbers)
            for number in NUMBER.findall(text)
        ):
            return False
    return True


@pytest.mark.parametrize("case", ["single", "baseline", "series", "artifact"])
def test_three_marks_of_every_figure_tell_a_row_of_its_data(case: str, opening: Opening, accounts: Accounts) -> None:
    page = opening(case).look()
    silent = []
    for one in drawn(accounts(case)):
        data = [*one.rows, *(row for rows in one.spec["datasets"].values() for row in rows)]
        told_of = [" ".join(map(str, row.values())) for row in data]
        marks = page.evaluate(MARKS, one.name)
        told = 0
        for x, y, *_ in marks:
            said = hover(page, x, y)
            if said:
                assert any(tells(said, row) for row in told_of), (one.name, said)
                told += 1
            if told == min(3, len(marks)):
                break
        page.mouse.move(0, 0)
        if not told:
            silent.append(one.name)
    assert silent == []


def test_a_breach_leads_to_its_row(opening: Opening) -> None:
    page = opening("breach").look()
    page.evaluate("document.querySelectorAll('details.table').forEach((box) => { box.open = false; })")
    page.evaluate("scrollTo(0, 0)")
    page.click(".breach .to-row >> nth=0")
    page.wait_for_timeout(100)
    row = page.evaluate(
        "() => { const row = document.querySelector('tr:target'); const r = row.getBoundingClientRect();"
        " return [row.cells[0].textContent.trim(), r.top, r.bottom, innerHeight, getComputedStyle(row).outlineStyle]; }"
    )
    assert row[0] == "layers.1.hidden"
    assert 0 <= row[1] < row[2] <= row[3]
    assert row[4] == "solid"


@pytest.mark.parametrize("case", [name for name in CASES if name != "deep"])  # of 866 rows it takes a quarter minute
def test_axe_finds_no_serious_fault(case: str, opening: Opening) -> None:
    found = opening(case)
    found.look(DESK)
    assert found.faults() == []


@pytest.mark.parametrize("case", [name for name in CASES if name != "deep"])
def test_it_has_contrast_in_the_dark_too(case: str, opening: Opening) -> None:
    found = opening(case)
    found.look(DESK, "dark")
    assert found.faults("color-contrast") == []


def test_nothing_is_cut_off_on_a_phone(case: str, opening: Opening) -> None:
    found = opening(case)
    page = found.look(PHONE)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert found.wider_than(PHONE[0]) == []


def test_nothing_is_cut_off_on_paper_and_all_of_it_is_open(case: str, opening: Opening) -> None:
    found = opening(case)
    page = found.look(PAPER, media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_timeout(300)
    try:
        assert found.wider_than(PAPER[0]) == []
        assert page.evaluate("document.querySelectorAll('details:not([open]):not(.data)').length") == 0
    finally:
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        found.look()
