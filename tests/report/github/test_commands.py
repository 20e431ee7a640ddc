"""Workflow commands: what a runner reads out of a line is what was meant, whatever names hold, and out of no other line
anything.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.errors import shown, uncommanded, worded
from pytest_maxact.report.github.commands import Annotation, command
from pytest_maxact.report.terminal.screen import Column, Grid, Screen, Text, to_text
from pytest_maxact.settings.option import pytest_option
from tests.support.hostile import NAMES
from tests.support.runner import read_command

LINES = st.text(st.sampled_from(list(":#[] a\t\u3000\n\\")) | st.characters(codec="utf-8"), max_size=80)


@pytest.mark.parametrize("name", NAMES)
def test_a_runner_reads_what_was_meant(name: str) -> None:
    hostile = NAMES[name]
    said = read_command(command(Annotation(level="error", title=hostile, text=hostile, file=f"a/{hostile}", line=7)))
    assert said is not None
    assert (said.name, said.properties["line"]) == ("error", "7")
    assert said.properties.keys() == {"file", "line", "title"}
    assert said.text == "\n".join(map(shown, hostile.split("\n")))
    assert said.properties["title"] == said.properties["file"].removeprefix("a/") == shown(hostile)


def test_without_a_file_there_is_no_line() -> None:
    assert command(Annotation(level="warning", title="a", text="b", line=7)) == "::warning title=a::b"


@given(LINES)
def test_no_line_that_is_printed_is_a_command(text: str) -> None:
    for printed in (worded(text, pytest_option), to_text([Text(text)], Screen(width=60)), *map(uncommanded, [text])):
        assert not [line for line in printed.split("\n") if read_command(line)]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_in_a_report_is_a_command_wherever_it_is_folded(name: str) -> None:
    for width in (60, 61, 80):
        grid = Grid(columns=(Column(fold=True, width=9), Column(fold=True)), rows=[(NAMES[name], NAMES[name])])
        text = to_text([grid, Text(NAMES[name] * 20), Text(f"{'x' * width}{NAMES[name]}")], Screen(width=width))
        assert not [line for line in text.splitlines() if read_command(line)]


@pytest.mark.parametrize(
    "line",
    ["maxact::layers.1.hidden::max_abs", "a :: b", "#[x] ## [y]", "## heading", "a#b[0]", "E: ::"],
)  # fmt: skip
def test_what_is_none_stays_as_it_is(line: str) -> None:
    assert worded(line, pytest_option) == uncommanded(line) == line
