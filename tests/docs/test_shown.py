"""What pages show to be printed says by which command; the check that runs these commands notices what is no longer so;
and what pages name in passing, options, commands and exit codes, exists.
"""

import argparse
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_maxact.cli.main import command_line
from pytest_maxact.settings.option import pytest_option
from pytest_maxact.settings.options import OPTIONS
from tests.support.markdown import PAGES, Block, blocks
from tools.check_shown import in_words, lacking, renewed, shown

HISTORY = ("CHANGELOG.md",)
"""Speaks of what was, too."""
OTHERS = {"--kv-cache-dtype", "--check-tensors", "--local-dir", "--repo-type", "--extra-index-url", "--no-deps"}
"""Of other programs."""
NOT_PRINTED = ("docs/api.md", "docs/architecture.md", "docs/mutants.md")
"""Whose blocks of text are signatures, a listing and a configuration."""
BY_HAND = 6
"""Blocks that no one command prints."""
PRINTED = """\
PASS against limits: all 108 checks hold
M         548 in layers.5.hidden, sample web-36, token 742 '="', channel 74
          larger than 2 of 27
layer max|a| used
embed   1.75 ███████░░░ 78%
"""


def block(text: str) -> Block:
    return Block(page="page.md", line=1, language="text", text=text, said="")


def test_what_is_printed_says_by_which_command() -> None:
    left = [
        one
        for one in blocks("text")
        if one.page not in NOT_PRINTED and not one.said.startswith("printed: ") and "FAULT" not in one.text
    ]
    assert len(left) == BY_HAND, [one.name for one in left]


@pytest.mark.parametrize(("one", "command"), [pytest.param(*entry, id=entry[0].name) for entry in shown(PAGES)])
def test_a_command_that_is_said_to_have_printed_is_understood(
    one: Block, command: str, pytester: pytest.Pytester
) -> None:
    program, *arguments = shlex.split(command)
    if program == "maxact":
        command_line().parse_args(arguments)
    else:
        assert program == "pytest"
        assert pytester.parseconfig(*arguments).getoption("maxact_model")


def test_what_was_printed_is_found_with_what_is_left_out() -> None:
    shown_whole = block(
        "PASS against limits: all 108 checks hold\n...\nlayer max|a| used\nembed   1.75 ███████░░░ 78%\n"
    )
    assert lacking(shown_whole, PRINTED) == []
    assert lacking(shown_whole, PRINTED, words=True) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("PASS against limits: all 108 checks hold\nlayer max|a| used\n", id="left out without a word"),
        pytest.param("layer max|a| used\n...\nPASS against limits: all 108 checks hold\n", id="another order"),
        pytest.param("PASS against limits: all 108 checks pass\n", id="another word"),
        pytest.param("layer max|a| limit used\n", id="a column that is gone"),
    ],
)
def test_what_is_not_printed_so_is_noticed(text: str) -> None:
    assert lacking(block(text), PRINTED)
    assert lacking(block(text), PRINTED, words=True)


def test_figures_places_bars_and_breaks_of_lines_are_no_words() -> None:
    elsewhere = block(
        "PASS against limits:\nall 96 checks hold\n"
        "M    544 in layers.5.hidden, sample code-03, token 7 ' x', channel 75\n"
        "larger than 2 of 27\nlayer max|a| used\nembed 1.8 ████░░░░░░ <1%\n"
    )
    assert lacking(elsewhere, PRINTED, words=True) == []
    assert lacking(elsewhere, PRINTED)


def test_figures_that_moved_are_put_in_and_other_words_are_left() -> None:
    before = block("PASS against limits: all 96 checks hold\n...\nembed   1.80 ████░░░░░░ 40%\nand so on\n")
    now = "PASS against limits: all 108 checks hold\n...\nembed   1.75 ███████░░░ 78%\nand so on\n"
    assert renewed(before, PRINTED) == now
    assert lacking(replace(before, text=now), PRINTED) == ["embed   1.75 ███████░░░ 78%\nand so on"]


@pytest.mark.parametrize(
    ("command", "replayed"),
    [("qwen3-tiny fixtures", "run.safetensors"), ("step-*", "checkpoint-*.maxact.safetensors")],
)
def test_tables_have_the_columns_and_facts_the_labels_of_today(
    command: str, replayed: str, here: Path, pytester: pytest.Pytester
) -> None:
    """Of Records that are at hand, on less text than the pages read."""
    today = pytester.runpytest(f"--maxact-replay={replayed}", "--color=no").stdout.str()
    seen = [one for one, said in shown(PAGES) if command in said and "--maxact-deploy" not in said]
    assert seen
    for one in seen:
        assert columns(one.text) <= columns(today)
        assert {label for label in labels(one.text) if not label.startswith("step-")} <= labels(today)
    assert any(columns(one.text) == columns(today) for one in seen)


def columns(text: str) -> set[str]:
    heads = re.findall(r"^(?:layer|checkpoint|kind) .*$", text, re.MULTILINE)
    return {in_words(head) for head in heads}


def labels(text: str) -> set[str]:
    """Of facts; that of what carries M stands where one channel, position or token does."""
    return set(re.findall(r"^([A-Za-z][\w-]*) +(?=\S)(?<=  )", text, re.MULTILINE)) - {"carrier"}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in HISTORY], ids=lambda path: path.name)
def test_options_and_commands_that_a_page_names_exist(page: Path) -> None:
    known = {pytest_option(option.field) for option in OPTIONS}
    (commands,) = (one for one in command_line()._actions if isinstance(one, argparse._SubParsersAction))
    own = {word for parser in commands.choices.values() for word in parser._option_string_actions}
    for code in re.findall(
        r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    ):
        for option in re.findall(r"--maxact-[\w-]+", code):
            assert option in known, code
        if named := re.match(r"maxact ([a-z]+)\b", code):
            assert named[1] in commands.choices, code
            assert set(re.findall(r"(?<![\w-])--[a-z][\w-]+", code)) <= own | OTHERS, code
