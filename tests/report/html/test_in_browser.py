"""Pages as a browser shows them: one Record, a breach, a baseline, a series, an artifact, a deep mixture of experts."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from pytest_maxact.judge.account import Account
from tests.support.browser import DESK, LETTER, PAPER, PHONE, PHONES, Opened
from tests.support.pages import CASES, drawn

Opening = Callable[[str], Opened]
Accounts = Callable[[str], Account]
MOST_BYTES = 3_000_000
MOST_SECONDS = 2
TRIES = 10
"""Of a browser that has much to do: what a mark says comes with the next frame."""
FULL = {"breach", "whole"}
"""Cases that have every part of a page between them."""
MARKS = """name => {
    const chart = document.querySelector(`.chart[data-figure="${name}"]`);
    chart.scrollIntoView({ block: "center" });
    const own = [...chart.querySelectorAll(".mark-group .role-mark path, .mark-group .role-mark text")];
    return own.filter((e) => { const r = e.getBoundingClientRect(); return r.width > 0 || r.height > 0; }).map((e) => {
        const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2, r.width, r.height];
    });
}"""
KNOWN = """name => {
    const chart = document.querySelector(`.chart[data-figure="${name}"]`);
    chart.scrollIntoView({ block: "center" });
    const marks = ["symbol", "rect", "text"].map((kind) => `.mark-${kind}.role-mark > *`).join();
    return [...chart.querySelectorAll(marks)].flatMap((mark) => {
        const r = mark.getBoundingClientRect(), [x, y] = [r.x + r.width / 2, r.y + r.height / 2], item = mark.__data__;
        if (!item?.tooltip || document.elementFromPoint(x, y) !== mark) return [];
        const fields = Object.entries(item.datum).filter(([, one]) => typeof one !== "object");
        return [{ x, y, fields: Object.fromEntries(fields) }];
    });
}"""
CUT_OFF = """() => [...document.querySelectorAll(".chart svg")].flatMap((svg) => {
    const edge = svg.getBoundingClientRect();
    const reaches = (r) => r.width > 0 && (r.right > edge.right + 2 || r.left < edge.left - 2
        || r.bottom > edge.bottom + 2 || r.top < edge.top - 2);
    return [...svg.querySelectorAll("text")]
        .filter((text) => text.textContent.trim() && text.checkVisibility({ opacityProperty: true }))
        .filter((text) => reaches(text.getBoundingClientRect()))
        .map((text) => `${svg.closest(".chart").dataset.figure}: ${text.textContent}`);
})"""
SMALLEST = """() => Math.min(...[...document.querySelectorAll(".chart svg")].flatMap((svg) => {
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    return [...svg.querySelectorAll("text")].map((text) => parseFloat(getComputedStyle(text).fontSize) * scale);
}))"""
LEAST_LETTER = 8.5
"""Pixels of a letter on paper: more than six points."""
TOOLTIP = """() => [...document.querySelectorAll("#vg-tooltip-element.visible tr")]
    .map((row) => [...row.cells].map((cell) => cell.textContent.trim()))"""


def test_it_asks_for_nothing_and_complains_of_nothing(case: str, opening: Opening) -> None:
    found = opening(case)
    assert found.asked == []
    assert found.said == []
    ids = found.page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert [one for one in set(ids) if ids.count(one) > 1] == []
    assert found.path.stat().st_size < MOST_BYTES


def test_it_is_open_in_two_seconds_and_whole_when_its_load_ends(case: str, opening: Opening) -> None:
    """What prints a page without a person waits for the end of its load and for nothing more."""
    found = opening(case)
    assert 0 < found.seconds < MOST_SECONDS
    assert found.loaded_whole


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
    page.wait_for_timeout(20)
    return dict(row for row in page.evaluate(TOOLTIP) if len(row) == 2)


def asked_of(spec: Any) -> Iterator[list[dict[str, str]]]:
    """The fields of every tooltip in a spec, with what they are called."""
    if isinstance(spec, dict):
        yield from ([one] if isinstance(one, dict) else one for one in [spec.get("tooltip")] if one)
        for name, part in spec.items():
            if name != "datasets":
                yield from asked_of(part)
    elif isinstance(spec, list):
        for part in spec:
            yield from asked_of(part)


def told_of(row: dict[str, Any], hints: list[dict[str, str]]) -> dict[str, str]:
    """What is to be seen of a row: nothing of what it does not hold."""
    if "low" in row and "density" in row:
        row["span"] = f"{row['low']:.4g} to {row['high']:.4g}"
    said = {hint["title"] or hint["field"]: row.get(hint["field"]) for hint in hints}
    return {name: _short(f"{value}") for name, value in said.items() if value not in (None, "")}


@pytest.mark.parametrize("case", [name for name in CASES if name != "breach"])
def test_three_known_marks_of_every_figure_say_what_their_rows_hold(
    case: str, opening: Opening, accounts: Accounts
) -> None:
    page = opening(case).look()
    figures = [one for one in drawn(accounts(case)) if case != "deep" or one.name == "experts"]
    assert figures
    for one in figures:
        marks = page.evaluate(KNOWN, one.name)
        assert marks, f"{one.name}: there is nothing to be hovered over"
        data = [row for rows in one.spec["datasets"].values() for row in rows]
        for mark in {place: marks[place] for place in (0, len(marks) // 2, len(marks) - 1)}.values():
            own = [row for row in data if is_of(mark["fields"], row)]
            row = min(own, key=lambda row: row.get("role") != mark["fields"].get("role"))
            shown = [told_of(dict(row), hints) for hints in asked_of(one.spec)]
            for _ in range(TRIES):
                said = {name: _short(text) for name, text in hover(page, mark["x"], mark["y"]).items()}
                if said in shown:
                    break
            assert said in shown, (one.name, said, shown)
        page.mouse.move(0, 0)


def is_of(fields: dict[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether a mark is of this row: it holds all of it, but for the role, which a layer may give anew."""
    return all(fields.get(name) == value for name, value in row.items() if name != "role")


def _short(text: str) -> str:
    """A number as `:g` has it: JavaScript and Python write the same one in two ways."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


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
def test_it_has_contrast_in_the_dark_on_paper_and_on_a_phone_too(case: str, opening: Opening) -> None:
    found = opening(case)
    elsewhere = ((PAPER, "light", "print"), (PHONE, "dark", "screen")) if case in FULL else ()
    for size, scheme, media in ((DESK, "dark", "screen"), *elsewhere):
        found.look(size, scheme, media)
        assert found.faults("color-contrast") == [], (size, scheme, media)


def test_nothing_is_cut_off_on_a_phone(case: str, opening: Opening) -> None:
    found = opening(case)
    for width in PHONES if case in FULL else PHONES[:1]:
        page = found.look((width, PHONE[1]))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert found.wider_than(width) == []
        assert page.evaluate(CUT_OFF) == [], width
    found.look()


@pytest.mark.parametrize(
    ("case", "paper"), [*((name, PAPER) for name in CASES), *((name, LETTER) for name in sorted(FULL))]
)
def test_nothing_is_cut_off_on_paper_and_all_of_it_is_open(case: str, paper: tuple[int, int], opening: Opening) -> None:
    found = opening(case)
    page = found.look(DESK)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="light")
    page.evaluate("width => { document.body.style.width = `${width}px`; }", paper[0])  # which tells no window of it
    page.wait_for_timeout(300)
    try:
        assert found.wider_than(paper[0]) == []
        assert page.evaluate(CUT_OFF) == []
        assert page.evaluate(SMALLEST) >= LEAST_LETTER
        assert page.evaluate("document.querySelectorAll('details:not([open]):not(.data)').length") == 0
        heads = page.evaluate(
            "[...document.querySelectorAll('thead button')].map((one) => getComputedStyle(one).display)"
        )
        assert set(heads) == {"contents"}, "Chromium repeats no head on the next sheet that has a button in it"
    finally:
        page.evaluate("document.body.style.width = ''")
        found.look()
        page.evaluate("dispatchEvent(new Event('afterprint'))")
