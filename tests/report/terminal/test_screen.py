"""Lines and tables on a screen: settings as its door types them, styles kept, nothing wider than it is."""

import pytest
from rich.text import Text

from pytest_maxact.errors import setting
from pytest_maxact.report.terminal.screen import Column, Grid, Screen, to_text

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


@pytest.mark.parametrize(("width", "widest"), [(20, 60), (60, 60), (100, 100)])
def test_nothing_is_wider_than_the_screen_or_sixty_columns(width: int, widest: int) -> None:
    grid = Grid(columns=(Column(fold=True), Column(name="n", right=True)), rows=[("word " * 60, "1")])
    assert max(map(len, to_text([grid], Screen(width=width)).splitlines())) <= widest


@pytest.mark.parametrize(("encoding", "blocks"), [("utf-8", True), ("UTF-16", True), ("ascii", False)])
def test_blocks_are_for_screens_that_have_them(encoding: str, blocks: bool) -> None:
    assert Screen(encoding=encoding).has_blocks is blocks


def test_what_an_encoding_lacks_is_a_question_mark() -> None:
    assert to_text([Text("a ü")], Screen(encoding="ascii")) == "a ?"
