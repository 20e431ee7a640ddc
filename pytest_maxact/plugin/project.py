"""The project's hooks, called: what they give goes where no option is given."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_maxact.errors import InputError, first_line
from pytest_maxact.settings.settings import Settings

if TYPE_CHECKING:
    from pytest_maxact.judge.outcome import Outcome

CORPUS, LIMITS, OUTCOME = "pytest_maxact_corpus", "pytest_maxact_limits", "pytest_maxact_outcome"


def with_hooks(config: pytest.Config, settings: Settings, folder: Callable[[], Path]) -> Settings:
    """Settings with the corpus and the limits of the project's hooks, where no option or ini file names any. Raises
    InputError that names the hook.

    `folder`: makes one for what lasts as long as the run.
    """
    if settings.model and settings.corpus is None and (given := _called(config, CORPUS)) is not None:
        from pytest_maxact.gate.provided import corpus_file

        settings = replace(settings, corpus=corpus_file(given, config.rootpath, folder))
    if settings.limits is None and (given := _called(config, LIMITS)) is not None:
        from pytest_maxact.gate.provided import limits_file

        settings = replace(settings, limits=limits_file(given, config.rootpath, written=settings.update is not None))
    return settings


def give_outcome(config: pytest.Config, outcome: "Outcome | None") -> None:
    """Hand the outcome to the project's hooks; None where none could be put together.

    Raises InputError where that leaves a hook without it, or where one raises.
    """
    if outcome is not None:
        _called(config, OUTCOME, outcome=outcome)
    elif getattr(config.hook, OUTCOME).get_hookimpls():
        raise InputError(f"{OUTCOME} was not called: no outcome could be put together")


def _called(config: pytest.Config, name: str, **given: Any) -> Any:
    """What a hook gives, None where nobody has one. Raises InputError for one that raises."""
    try:
        return getattr(config.hook, name)(config=config, **given)
    except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
        raise InputError(
            f"{name} raised {type(error).__name__}: {first_line(error)}\n  mend the hook of the project's"
        ) from error
