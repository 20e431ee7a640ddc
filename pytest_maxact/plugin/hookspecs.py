"""The hooks that a project may have in its conftest.py, or in a plugin. None is called where no gate was asked for, and
under xdist only the process that started the run calls them.

A hook that raises, or gives what cannot be used, is a usage error that names it: a gate never falls back to another
corpus, or to other limits, than the project wanted.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_maxact.judge.outcome import Outcome


@pytest.hookspec(firstresult=True)
def pytest_maxact_corpus(config: pytest.Config) -> "Sequence[Mapping[str, Any]] | str | Path | None":
    """The corpus to measure on, where no option or ini file names one: entries `{"text": ..., "category": ...}`, as the
    lines of a corpus file, or the path of such a file, which starts from the root directory. None for the built-in one.

    Not called where a Record is replayed. The first hook that gives something decides.
    """


@pytest.hookspec(firstresult=True)
def pytest_maxact_limits(config: pytest.Config) -> "str | Path | None":
    """The path of the limits file, where no option or ini file names one; it starts from the root directory. None for
    the shipped limits.
    """


@pytest.hookspec
def pytest_maxact_outcome(config: pytest.Config, outcome: "Outcome") -> None:
    """What became of the run, at its very end, after the report. A hook that raises, or that cannot be called as no
    outcome could be put together, makes a run that would have passed end with exit status 4.
    """
