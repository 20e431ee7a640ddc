"""What a runner of GitHub's kind is told of a pytest run, by the process that the user started, once and last.

Guards that no run which asked for a gate ends in silence: one that was refused, broke down or was broken off before its
outcome could be put together is told as one without a verdict.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_maxact.errors import InputError, MaxactError, first_line, marked, message
from pytest_maxact.plugin.inifile import value_of
from pytest_maxact.settings.option import pytest_option

if TYPE_CHECKING:
    from pytest_maxact.gate.session import GateSession

_SOURCES = ("model", "replay")
_ASKING = tuple(map(pytest_option, _SOURCES))
_told_key = pytest.StashKey[bool]()


def tell_runner(config: pytest.Config, gate: "GateSession") -> None:
    """The summary of the step and annotations. What cannot be told fails no run."""
    from pytest_maxact.gate.account import account_of
    from pytest_maxact.gate.github import is_asked, tell
    from pytest_maxact.gate.reports import repository
    from pytest_maxact.plugin.finish import outcome_key, trouble_key

    config.stash[_told_key] = True
    if not is_asked(gate.settings.github):
        return
    outcome, troubles = config.stash.get(outcome_key, None), config.stash.get(trouble_key, list[str]())
    try:
        lines = tell(account_of(gate, outcome, troubles, pytest_option, repository(config.invocation_params.dir)))
    except (MaxactError, ValueError, OSError) as error:
        lines = [f"maxact: the runner was not told of this run: {message(marked(error), pytest_option)}"]
    print(*lines, sep="\n", end="\n" if lines else "", file=sys.stderr)


def tell_refusal(config: pytest.Config, error: InputError) -> None:
    """That a gate was asked for and not opened."""
    _tell_none(config, error.worded(pytest_option), config.option)


@contextmanager
def told_at_last(config: pytest.Config) -> Iterator[None]:
    """Around the whole of a run that asks for a gate."""
    from pytest_maxact.plugin.typed import typed

    why = "the run ended before its gate: nothing was checked"
    try:
        yield
    except pytest.UsageError as error:
        why = str(error)
        raise
    except BaseException as error:
        why = f"the run was broken off before its gate ({type(error).__name__}): nothing was checked"
        raise
    finally:
        if _told_key not in config.stash and not typed(config).looks:
            _tell_none(config, f"{why}\n  the log above has the reason", config.option)


def tell_unparsed(config: pytest.Config) -> None:
    """That pytest refused the command line, where it does so before any plugin is asked; called when all is over."""
    error, given = sys.exc_info()[1], getattr(config, "known_args_namespace", None)
    if not isinstance(error, pytest.UsageError) or _told_key in config.stash:
        return
    typed = tuple(map(str, config.invocation_params.args))
    asked = any(one.startswith(_ASKING) for one in typed) or (given is not None and _asks(config, given))
    if asked and not hasattr(config, "workerinput"):
        _tell_unread(config, str(error).strip().rpartition("error: ")[2], given)


def tell_conftest(config: pytest.Config, error: Exception) -> None:
    """That a conftest, or another plugin, broke the run off before its command line was read for good."""
    given = config.known_args_namespace
    if _asks(config, given):
        why = f"a conftest or a plugin failed before the gate was opened: {first_line(error)}"
        _tell_unread(config, f"{why}\n  the log above has the reason", given)


def _tell_unread(config: pytest.Config, why: str, given: object) -> None:
    """Where the command line was not read for good: the file of JUnit too, which no other begins then."""
    from pytest_maxact.plugin.junit import put_unparsed

    _tell_none(config, why, given)
    put_unparsed(config, why, given)


def _asks(config: pytest.Config, given: object) -> bool:
    return any(getattr(given, f"maxact_{one}", None) or value_of(config, one) is not None for one in _SOURCES)


def _tell_none(config: pytest.Config, why: str, given: object) -> None:
    from pytest_maxact.gate.github import AUTO, is_asked, refused

    config.stash[_told_key] = True
    there = value_of(config, "github")
    if is_asked(getattr(given, "maxact_github", None) or str(there or AUTO)):
        print(*refused(why), sep="\n", file=sys.stderr)
