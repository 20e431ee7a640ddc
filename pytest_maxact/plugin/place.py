"""The file that the gate's nodes lie in, for editors that show tests by the file they come from.

Comes from what was typed and what the ini file says alone, so that it is the same in every process of a run, before
anything is opened.
"""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.plugin.inifile import value_of
from pytest_maxact.settings.places import expanded


def place_of(config: pytest.Config) -> Path:
    """The limits file, else the ini file, whichever lies in the project; where neither does, whichever there is, at
    last the shipped limits.
    """
    found = [path for path in (_limits(config), config.inipath) if path and path.is_file()]
    inside = [path for path in found if path.is_relative_to(config.rootpath)]
    if found:
        return (inside or found)[0]
    from pytest_maxact.judge.limits.file import builtin_path

    return builtin_path()


def is_place(config: pytest.Config, path: str) -> bool:
    """Whether a path as it was typed is that file."""
    return os.path.realpath(config.invocation_params.dir / path) == os.path.realpath(place_of(config))


def _limits(config: pytest.Config) -> Path | None:
    """The limits file that is named; what is no path is refused where the gate is opened."""
    given = config.getoption("maxact_limits", None)
    there = value_of(config, "limits")
    with suppress(InputError):
        if given:
            return _absolute(config.invocation_params.dir / expanded(given))
        if there is not None and config.inipath:
            return _absolute(config.inipath.parent / expanded(str(there)))
    return None


def _absolute(path: Path) -> Path:
    """Links stay, as in the paths of pytest's own nodes."""
    return Path(os.path.abspath(path))
