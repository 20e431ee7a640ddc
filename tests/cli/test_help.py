"""Help pages: each has examples that can be typed, the exit codes, and its own options by its own names."""

import argparse
import re
import shlex

import pytest

from pytest_maxact.cli import exits
from pytest_maxact.cli.examples import EXAMPLES
from pytest_maxact.cli.main import command_line
from pytest_maxact.settings.option import pytest_option
from pytest_maxact.settings.options import OPTIONS
from pytest_maxact.settings.table.judging import JUDGING as TABLE


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (action for action in command_line()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


@pytest.mark.parametrize("name", ["", *commands()])
def test_every_page_has_examples_and_exit_codes(name: str) -> None:
    page = commands()[name].format_help() if name else command_line().format_help()
    assert "examples:\n" in page
    assert all(f"  {typed}\n" in page for typed, _ in EXAMPLES[name])
    codes = page.partition("exit codes:\n")[2]
    stated = re.findall(r"^  (\d[\d, ]*)  \w", codes, re.MULTILINE)
    known = {value for name, value in vars(exits).items() if name.isupper()}
    assert {int(code) for line in stated for code in line.split(", ")} == known


@pytest.mark.parametrize("typed", [typed for examples in EXAMPLES.values() for typed, _ in examples])
def test_every_example_is_understood(typed: str) -> None:
    program, *arguments = shlex.split(typed)
    assert program == "maxact"
    assert callable(command_line().parse_args(arguments).run)


@pytest.mark.parametrize("name", commands())
def test_a_page_names_the_options_of_its_own_door(name: str) -> None:
    page = commands()[name].format_help()
    assert "--maxact" not in page
    assert not re.search(r"[\ue000\ue001]", page)
    known = {f"--{option.name}" for option in OPTIONS} | set(commands()[name]._option_string_actions)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", page)) <= known


def test_every_example_of_a_command_is_of_that_command() -> None:
    assert EXAMPLES.keys() == {"", *commands()}
    for name, examples in EXAMPLES.items():
        assert all(shlex.split(typed)[1] == name for typed, _ in examples if name)


def test_the_help_of_pytest_has_them_too_by_its_own_names(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest("--help").stdout.str()
    ours = text.partition("maxact: release gate for LLM checkpoints")[2].partition("maxact_model (string)")[0]
    ours = ours.partition("\n[pytest]")[0].partition("\n[pytest] configuration")[0]
    typed = re.findall(r"^ +pytest (.*?)(?:  |$)", ours.partition("  options:")[0], re.MULTILINE)
    assert len(typed) == 5
    known = {pytest_option(option.field) for option in OPTIONS}
    assert {word.partition("=")[0] for line in typed for word in line.split()} <= known
    assert "0 all checks hold; 1 a breach" in ours
    section = ours.partition("  options:")[2].partition("\n\n")[0]
    assert set(re.findall(r"^  (--[\w-]+)", section, re.MULTILINE)) == known
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", section)) <= known


@pytest.mark.parametrize("name", ["judge", "report", "card"])
def test_every_command_that_gives_a_verdict_takes_all_that_it_depends_on(name: str) -> None:
    others = {"horizon", "replay", "update", "loosen"}
    judging = {option.name for option in TABLE if option.name not in others} | {"deploy"}
    taken = {flag for action in commands()[name]._actions for flag in action.option_strings}
    assert {f"--{option}" for option in judging} <= taken
