"""Lines and tables on a screen: settings as its door types them, styles kept, nothing wider than it is."""

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_maxact.errors import setting
from pytest_maxact.report.terminal.screen import Column, Grid, Screen, Text, short, to_text
from tests.support.paths import REPOSITORY

SAID = f"give {setting('deploy')} a scheme"


def as_option(field: str) -> str:
    return f"--{field}"


def test_settings_are_worded_in_lines_titles_headers_and_cells() -> None:
    grid = Grid(
        columns=(Column(name=setting("limits")), Column(name="b")),
        rows=[(SAID, Text(SAID, style="red"))],
        title=f"by {setting('family')}",
    )
    text = to_text([Text(SAID), grid], Screen(words=as_option))
    assert text.count("give --deploy a scheme") == 3
    assert "by --family" in text
    assert "--limits" in text
    assert "\ue000" not in text


def test_where_no_door_is_known_a_setting_is_its_field() -> None:
    assert to_text([Text(SAID)], Screen()) == "give `deploy` a scheme"


def test_a_setting_is_worded_before_lines_are_laid_out() -> None:
    text = to_text([Text(f"{'x' * 50} {setting('deploy')} {'y' * 10}")], Screen(width=60, words=lambda _: "z" * 30))
    assert text.splitlines() == ["x" * 50, f"{'z' * 30} {'y' * 10}"]


def test_styles_of_parts_of_a_line_stay_where_they_were() -> None:
    line = Text.assemble((f"{setting('deploy')}: ", "bold"), ("red part", "red"), " rest")
    assert to_text([line], Screen(color=True, words=as_option)) == (
        "\x1b[1m--deploy: \x1b[0m\x1b[31mred part\x1b[0m rest"
    )


def test_what_rings_erases_or_goes_back_is_spelled_out_and_not_left_out() -> None:
    name = "a\x07b\x08c\x0bd\x0ce\rf"
    line = Text.assemble((f"{name} ", "bold"), name)
    assert (
        to_text([line, Grid(columns=[Column()], rows=[[Text(name)]])], Screen()).split()
        == [r"a\x07b\x08c\x0bd\x0ce\rf"] * 3
    )


def test_every_line_of_a_report_is_of_the_kind_that_leaves_nothing_out() -> None:
    others = {"screen.py", "progress.py"}
    modules = [path for path in (REPOSITORY / "pytest_maxact").rglob("*.py") if path.name not in others]
    assert [path.name for path in modules if "rich.text" in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("term", ["dumb", "xterm"])
@pytest.mark.parametrize(("width", "widest"), [(20, 60), (60, 60), (100, 100)])
def test_nothing_is_wider_than_the_screen_or_sixty_columns(
    width: int, widest: int, term: str, color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    grid = Grid(columns=(Column(fold=True), Column(name="n", right=True)), rows=[("word " * 60, "1")])
    text = re.sub("\x1b[^m]*m", "", to_text([grid], Screen(width=width, color=color)))
    assert max(map(len, text.splitlines())) <= widest


@pytest.mark.parametrize(("encoding", "blocks"), [("utf-8", True), ("UTF-16", True), ("ascii", False)])
def test_blocks_are_for_screens_that_have_them(encoding: str, blocks: bool) -> None:
    assert Screen(encoding=encoding).has_blocks is blocks


@given(st.floats(0.0, 1e300))
@example(0.005096)
@example(1.234e-05)
@example(9_999_999.5)
@example(3.4e38)
@example(5e-324)
@example(math.inf)
def test_a_magnitude_is_at_most_seven_characters_and_near_what_it_stands_for(value: float) -> None:
    text = short(value)
    assert len(text) <= 7
    if math.isfinite(value):
        two_digits = value == 0.0 or 1e-99 <= value < 9.5e99
        assert float(text) == pytest.approx(value, rel=0.05 if two_digits else 0.5, abs=0.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (900.0, "900"), (0.01234, "0.01234"), (0.5004999, "0.5005"), (1234.5, "1234"),
        (9_999_999.0, "9999999"), (1e-5, "1e-05"), (math.nan, "NaN/Inf"),
        (0.005096, "0.0051"), (0.001234, "0.00123"), (1.234e-05, "1.2e-05"), (12_345_678.0, "1.2e+07"),
        (1.234e-300, "1e-300"),
    ],
)  # fmt: skip
def test_a_magnitude_has_four_digits_or_as_many_as_fit(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_line_is_broken_within_a_number(encoding: str) -> None:
    for before in range(60):
        lines = to_text([Text(f"{'x' * before} 1 250 306 tokens")], Screen(width=60, encoding=encoding)).split("\n")
        assert sum("1 250 306" in line for line in lines) == 1


def test_what_an_encoding_lacks_is_a_question_mark() -> None:
    assert to_text([Text("a ü")], Screen(encoding="ascii")) == "a ?"


def test_no_name_is_obeyed_by_a_terminal() -> None:
    evil = "a\x1b[2J\x07b"
    grid = Grid(columns=[Column(name=evil)], rows=[[evil + "\nPASS"], [Text(evil, style="bold")]])
    text = to_text([Text(f"{evil}"), grid], Screen(width=120))
    assert text.replace("\n", "").isprintable()
    assert text.count(r"a\x1b[2J") == 4
    assert r"\nPASS" in text


@pytest.mark.parametrize("width", [60, 61, 70, 75, 80])
def test_a_table_that_is_too_wide_keeps_its_figures_whole_and_its_names(width: int) -> None:
    figures = [f"{number}.{number}e-06" for number in range(11, 17)]
    columns = (Column(name="scheme"), Column(name="at"), *(Column(name=f"of {name}", right=True) for name in "abcdef"))
    grid = Grid(columns=columns, rows=[("W8A8_STATIC", "11.down_projection", *(figure[:6] for figure in figures))])
    text = to_text([grid], Screen(width=width))
    assert max(map(len, text.splitlines())) <= width
    assert {"W8A8_STATIC", *(figure[:6] for figure in figures)} <= set(text.split())
    assert "…" not in text
