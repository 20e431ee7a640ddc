"""The pictures: what they say is what the program prints today, and they take nothing from elsewhere."""

import re

import pytest

from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.rules import select_rules
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.record.identity import identity_of
from pytest_maxact.settings.option import pytest_option
from pytest_maxact.settings.options import OPTIONS
from tests.support.paths import REPOSITORY
from tests.support.records import record, sites
from tests.support.reports import report_of
from tools.draw_pictures import COMMAND, LEFT_OUT, PAGE_WIDTH, PICTURES, drawn, shortened, text_of

LARGEST = 300_000
"""Of a picture, in bytes: a page of the docs is no download."""
TERMINALS = ("breach.svg", "breach-dark.svg")
RULE = "=" * 30 + " maxact " + "=" * 30


def today() -> list[str]:
    """A report of such a run, printed now."""
    values = {site.name: [[1.5, 0.5]] for site in sites(6)}
    values |= {f"layers.5.{kind}": [[131_072.0, 0.5]] for kind in ("hidden", "mlp_output")}
    measured = record(values, layers=6, hidden_size=2)
    rules = select_rules(load_limits(), identity_of(measured.provenance), [one.site for one in measured.sites.values()])
    return list(shortened(f"{RULE}\n{report_of(measured, rules, judge(measured, rules.limits), color=True)}"))


def in_shape(line: str) -> str:
    """Without what is of this run alone."""
    return re.sub(r"\s|[\d.]+", "", line)


@pytest.mark.parametrize("name", TERMINALS)
def test_a_picture_of_the_terminal_says_what_is_printed_today(name: str) -> None:
    shown = text_of((PICTURES / name).read_text(encoding="utf-8")).splitlines()
    printed = text_of(drawn(today(), dark=False)).splitlines()
    typed = f"$ {COMMAND}".splitlines()
    assert [line.rstrip() for line in shown[: len(typed)]] == [line.rstrip() for line in printed[: len(typed)]] == typed
    assert {pytest_option(option.field) for option in OPTIONS} >= set(re.findall(r"--[\w-]+", COMMAND))
    assert re.match(r"FAIL: \d+ of \d+ checks do not hold", shown[len(typed)])
    assert re.match(r"FAIL: \d+ of \d+ checks do not hold", printed[len(typed)])
    for begins in (
        "- layers.5.hidden: max_abs",
        "what it is, and what to do: maxact explain",
        "model",
        "M  ",
        LEFT_OUT,
    ):
        assert [line for line in shown if line.startswith(begins)], begins
        assert [line for line in printed if line.startswith(begins)], begins
    heads = [next(in_shape(line) for line in lines if line.startswith("layer ")) for lines in (shown, printed)]
    assert heads[0] == heads[1]
    rows = [
        [re.match(r" *([a-z_]+|\d+)", line)[0] for line in lines if re.search("[█░]", line)]
        for lines in (shown, printed)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("name", TERMINALS)
def test_a_picture_is_small_and_whole(name: str) -> None:
    svg = (PICTURES / name).read_bytes()
    assert len(svg) < 60_000
    assert re.findall(rb"(?:href|src|url)\s*[=(]\s*[\"']?(https?:[^\"')]*)", svg) == []
    assert svg.count(b"http") == 1, "the name space alone"


def test_the_picture_of_the_page_is_small_wide_enough_to_read_and_shown() -> None:
    png = (PICTURES / "page.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(png) < LARGEST
    assert int.from_bytes(png[16:20], "big") == PAGE_WIDTH
    assert "pictures/page.png" in (REPOSITORY / "docs" / "page.md").read_text()
    assert "docs/pictures/page.png" in (REPOSITORY / "README.md").read_text()
