"""What a runner of GitHub's kind is told of a pytest run, by the process that the user started, once and last."""

import sys
from typing import TYPE_CHECKING

import pytest

from pytest_maxact.errors import InputError, MaxactError, marked, worded
from pytest_maxact.plugin.inifile import value_of
from pytest_maxact.settings.option import pytest_option

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession


def tell_runner(config: pytest.Config, gate: "GateSession") -> None:
    """The summary of the step and annotations. What cannot be told fails no run."""
    from pytest_maxact.gate.account import account_of
    from pytest_maxact.gate.github import is_asked, tell
    from pytest_maxact.gate.reports import repository
    from pytest_maxact.plugin.finish import outcome_key, trouble_key

    if not is_asked(gate.settings.github):
        return
    outcome, troubles = config.stash.get(outcome_key, None), config.stash.get(trouble_key, list[str]())
    try:
        lines = tell(account_of(gate, outcome, troubles, pytest_option, repository(config.invocation_params.dir)))
    except (MaxactError, ValueError, OSError) as error:
        lines = [f"maxact: the runner was not told of this run: {worded(marked(error), pytest_option)}"]
    print(*lines, sep="\n", end="\n" if lines else "", file=sys.stderr)


def tell_refusal(config: pytest.Config, error: InputError) -> None:
    """That a gate was asked for and not opened."""
    from pytest_maxact.gate.github import AUTO, is_asked, refused

    there = value_of(config, "github")
    if is_asked(config.getoption("maxact_github", None) or str(there or AUTO)):
        print(*refused(error.worded(pytest_option)), sep="\n", file=sys.stderr)
