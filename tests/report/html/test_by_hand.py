"""A page as people use it: tables sorted by click and by key, data taken away, everything reached without a mouse, and
names of others as text in all that is drawn.
"""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.errors import neutral, worded
from pytest_maxact.judge.account import Account
from pytest_maxact.judge.figures.words import plain
from pytest_maxact.numbers.peaks import Around
from tests.support import records
from tests.support.browser import DESK, PHONE, Opened, opened
from tests.support.hostile import NAMES
from tests.support.pages import drawn, page_of, told

Opening = Callable[[str], Opened]
Accounts = Callable[[str], Account]
COLUMN = """([id, column]) => [...document.querySelectorAll(`#${id} tbody tr`)]
    .map((row) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim())"""
HEADS = "id => [...document.querySelectorAll(`#${id} thead th`)].map((one) => one.getAttribute('aria-sort'))"
BROKEN = """(numbers) => {
    const said = document.querySelector(".verdict .said"), found = [];
    const texts = document.createTreeWalker(said, NodeFilter.SHOW_TEXT), nodes = [];
    while (texts.nextNode()) nodes.push(texts.currentNode);
    for (let width = 120; width < 700; width += 7) {
        said.style = `display: inline-block; width: ${width}px`;
        for (const number of numbers) for (const node of nodes) {
            const place = node.data.indexOf(number), range = document.createRange();
            if (place < 0) continue;
            range.setStart(node, place);
            range.setEnd(node, place + number.length);
            const lines = new Set([...range.getClientRects()].map((one) => one.top)).size;
            if (lines !== 1) found.push(`${number} in ${lines} lines, ${width} wide`);
        }
    }
    return found;
}"""
FOCUSABLE = """() => [...document.querySelectorAll("a[href], button, summary, select, input, [tabindex='0']")]
    .filter((one) => one.checkVisibility())"""
FOCUSED = """() => {
    const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
    return { place: window.reachable.indexOf(one), said: `${one.tagName} ${one.textContent.trim().slice(0, 40)}`,
             outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0,
             seen: box.bottom > 0 && box.top < innerHeight && box.right > 0 };
}"""


def test_every_page_has_a_table_of_low_bits_by_site_and_scheme_that_is_sorted(
    opening: Opening, accounts: Accounts
) -> None:
    page = opening("breach").look()
    heads = page.evaluate("[...document.querySelectorAll('#table-low-bits thead th')].map((one) => one.textContent)")
    (column,) = [place for place, head in enumerate(heads) if head.strip() == "INT-8 max_abs inputs"]
    (figure,) = [one for one in drawn(accounts("breach")) if one.name == "low_bits"]
    known = sorted(row["sqnr_db"] for row in figure.rows if row["scheme"] == "INT-8 max_abs")
    for expected in (known[::-1], known):
        page.locator("#table-low-bits thead button").nth(column).press("Enter")
        shown = page.evaluate(COLUMN, ["table-low-bits", column])
        assert [float(one) for one in shown] == pytest.approx(expected, abs=0.005)


def test_no_number_is_broken_at_its_space_and_names_stay_as_they_are(browser: Any, tmp_path: Path) -> None:
    account = told(records.seen(), title="runs 10 200 of 2 x 4")
    assert account.outcome
    assert account.outcome.verdict
    rests = " against limits up to 1 234 x above what was found, on 59 930 tokens of 16 M"
    verdict = replace(account.outcome.verdict, rests=rests, warnings=("sum 1 200 0300 of <b> 7 000",))
    path = tmp_path / "page.html"
    path.write_text(page_of(replace(account, outcome=replace(account.outcome, verdict=verdict))))
    page = opened(browser, path).page
    headline = page.locator(".verdict .said")
    assert headline.text_content().startswith("against limits up to 1 234 x above what was found, on 59 930 tokens of")
    assert page.locator(".warnings li").text_content() == "sum 1 200 0300 of <b> 7 000"
    assert page.locator(".subject").text_content() == "runs 10 200 of 2 x 4"
    broken = page.evaluate(BROKEN, ["1 234 x", "59 930", "16 M"])
    assert broken == []


def test_the_line_of_a_limit_is_not_broken_in_two(opening: Opening) -> None:
    page = opening("breach").look(PHONE)
    lines = page.evaluate("""() => [...document.querySelectorAll(".breach td:last-child")].map((cell) => {
        for (let box = cell.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
        const text = document.createRange();
        text.selectNodeContents(cell);
        return new Set([...text.getClientRects()].map((one) => one.top)).size;
    })""")
    assert lines
    assert set(lines) == {1}


@pytest.mark.parametrize("how", ["click", "Enter", "Space"])
def test_a_table_is_sorted_by_click_and_by_key(how: str, opening: Opening) -> None:
    page = opening("breach").look()
    names = page.evaluate(
        "[...document.querySelectorAll('#table-sites-0 thead th')].map((one) => one.textContent.trim())"
    )
    column = names.index("max |x|") if "max |x|" in names else 1
    button = page.locator("#table-sites-0 thead th").nth(column).locator("button")
    orders = []
    for _ in range(2):
        button.click() if how == "click" else button.press(how)
        figures = [float(one.split()[0]) for one in page.evaluate(COLUMN, ["table-sites-0", column])]
        orders.append(figures)
        assert page.evaluate(HEADS, "table-sites-0").count(None) == len(names) - 1
    assert len(set(orders[0])) > 2
    assert sorted(orders[0]) in (orders[0], orders[1])
    assert orders[1] in (sorted(orders[0]), sorted(orders[0], reverse=True))
    assert orders[0] != orders[1]


def taken(page: Any, selector: str, folder: Path) -> str:
    with page.expect_download() as waiting:
        page.locator(selector).click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path.read_bytes().decode()


def test_what_is_downloaded_of_a_figure_is_its_data(opening: Opening, accounts: Accounts, tmp_path: Path) -> None:
    page = opening("single").look()
    some = [one for one in drawn(accounts("single")) if one.name in ("heat", "distribution", "low_bits")]
    assert len(some) == 3, "of more than ten downloads in a row Chromium asks whether they are wanted"
    for one in some:
        fields = list(dict.fromkeys(name for row in one.rows for name in row))
        expected = [{name: row.get(name) for name in fields} for row in one.rows]
        assert json.loads(taken(page, f"[data-rows='{one.name}'][data-as='json']", tmp_path)) == json.loads(
            json.dumps(expected)
        )
        head, *rows = csv.reader(taken(page, f"[data-rows='{one.name}'][data-as='csv']", tmp_path).splitlines())
        assert head == fields
        assert len(rows) == len(one.rows)
        for row, cells in zip(one.rows, rows, strict=True):
            for name, cell in zip(fields, cells, strict=True):
                value = row.get(name)
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    assert float(cell) == value


def test_what_is_downloaded_of_a_table_is_what_it_shows(opening: Opening, tmp_path: Path) -> None:
    page = opening("single").look()
    shown = page.evaluate(
        "[...document.querySelectorAll('#table-sites-0 tr')]"
        ".map((row) => [...row.cells].map((one) => one.textContent.trim()))"
    )
    found = list(csv.reader(taken(page, "[data-table='sites-0'][data-as='csv']", tmp_path).splitlines()))
    assert [[cell.removeprefix("'") for cell in row] for row in found] == [
        [cell.removeprefix("'") for cell in row] for row in shown
    ]
    head, *rows = shown
    found = json.loads(taken(page, "[data-table='sites-0'][data-as='json']", tmp_path))
    assert found == [dict(zip(head, row, strict=True)) for row in rows]


@pytest.mark.parametrize("case", ["breach", "series"])
def test_everything_is_reached_by_the_tab_key_in_its_order_and_is_seen_there(case: str, opening: Opening) -> None:
    page = opening(case).look(DESK)
    page.evaluate(
        "() => { const top = document.body; top.tabIndex = -1; top.focus(); top.removeAttribute('tabindex'); }"
    )
    page.evaluate(f"() => {{ window.reachable = ({FOCUSABLE})(); }}")
    reached = []
    for _ in range(page.evaluate("window.reachable.length")):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED))
    assert [one["place"] for one in reached] == list(range(len(reached)))
    assert [one["said"] for one in reached if not one["outlined"]] == []
    assert [one["said"] for one in reached if not one["seen"]] == []


def test_axe_finds_no_serious_fault_in_a_deep_page(opening: Opening) -> None:
    """Less the rows of tables that are like the first, and what is hidden from those who listen."""
    found = opening("deep")
    page = found.look(DESK)
    page.evaluate("""() => {
        const long = document.querySelectorAll("tbody tr:nth-child(n+12), .chart svg[aria-hidden]");
        window.apart = [...long].map((one) => [one.parentElement, one]);
        window.apart.forEach(([, one]) => one.remove());
    }""")
    try:
        assert found.faults() == []
    finally:
        page.evaluate("window.apart.forEach(([parent, one]) => parent.append(one))")


@pytest.fixture(scope="module")
def hostile(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """A page whose model, samples, tokens and text around these are names that attack it."""
    record = records.record(
        {f"layers.{i}.hidden": [[float(i + 2)] * 4] for i in range(len(NAMES))}
        | {"embedding": [[1.0] * 4], "final_norm": [[1.0] * 4]},
        layers=len(NAMES),
        model=NAMES["markup"],
    )
    sites = dict(record.sites)
    for place, name in enumerate(NAMES.values()):
        reading = sites[f"layers.{place}.hidden"]
        around = Around(before=name, after=name)
        peaks = tuple(replace(peak, token=name, sample=name, around=around) for peak in reading.peaks)
        sites[f"layers.{place}.hidden"] = replace(reading, peaks=peaks)
    path = tmp_path_factory.mktemp("hostile") / "page.html"
    path.write_text(page_of(told(replace(record, sites=sites), title=NAMES["closing"])), encoding="utf-8")
    return opened(browser, path)


def test_names_that_attack_are_text_where_they_are_drawn_and_hovered_over(hostile: Opened) -> None:
    page = hostile.look()
    title = page.title()
    marks = page.evaluate(
        """() => { const chart = document.querySelector('.chart[data-figure="massive"]');
        chart.scrollIntoView({ block: "center" });
        return [...chart.querySelectorAll(".mark-symbol.role-mark path")].map((one) => {
            const r = one.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }); }"""
    )
    said = set()
    for x, y in marks:
        page.mouse.move(x + 1, y)
        page.mouse.move(x, y)
        page.wait_for_timeout(20)
        said |= set(
            page.evaluate(
                "[...document.querySelectorAll('#vg-tooltip-element.visible td')].map((one) => one.textContent)"
            )
        )
        assert page.evaluate("document.querySelectorAll('#vg-tooltip-element :not(table, tbody, tr, td)').length") == 0
    page.mouse.move(0, 0)
    spelled = {worded(plain(name), neutral) for name in NAMES.values()}
    assert len(spelled & said) >= len(NAMES) // 2, "marks upon each other show the upper one"
    assert page.evaluate("document.querySelectorAll('img, iframe, object, embed').length") == 0
    assert page.title() == title
    assert hostile.asked == []
    assert hostile.said == []


def test_no_cell_of_a_download_is_a_formula(hostile: Opened, tmp_path: Path) -> None:
    page = hostile.look()
    tables = page.evaluate(
        "[...new Set([...document.querySelectorAll('[data-table]')].map((one) => one.dataset.table))]"
    )
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    wanted = [f"[data-rows='{name}'][data-as='csv']" for name in ("massive", "heat", "scale")] + [
        f"[data-table='{one}'][data-as='csv']" for one in tables
    ]
    cells = [cell for one in wanted for row in csv.reader(taken(page, one, tmp_path).splitlines()) for cell in row]
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)
    numbers = [cell for cell in cells if cell[:1] in ("+", "-", "=", "@", "\t")]
    assert all(float(cell) < 0 for cell in numbers if cell != "-")
