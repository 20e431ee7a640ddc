"""Ids of the gate's checks, as they are printed and pasted. They begin with `maxact` where others have a file: without
help pytest would look for a file called so.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError

_TENSOR = re.compile(r"^(maxact(?:\[[^/]*\])?::weights)\..+::(\w+)$")
_ROOT = re.compile(r"maxact(\[[^/]*\])?")


def is_own(nodeid: str) -> bool:
    """Whether an id is that of a check, or of a node above one."""
    return _ROOT.fullmatch(nodeid.split("::")[0]) is not None


def take_own(config: pytest.Config) -> list[str]:
    """Those on the command line, taken out of what pytest takes for paths.

    Below the root directory pytest prints them as `../maxact::...`, and so they are pasted.
    """
    own = [arg for arg in config.args if is_own(named(arg)) and not Path(arg.split("::")[0]).exists()]
    config.args = [arg for arg in config.args if arg not in own]
    return [named(arg) for arg in own]


def selects(selected: Iterable[str], nodeid: str) -> bool:
    """Whether one of the selected ids is that of a check, or of a node above it, or of waivers of its site."""
    return any(name in ("maxact", nodeid) or nodeid.startswith((f"{name}::", f"{name}:")) for name in selected)


def known_as(selected: Iterable[str], ids: Iterable[str]) -> list[str]:
    """The selected ids, in the place of one of a single tensor that of all weights, which tells of it once the files
    were read. Raises InputError for an id of which the run has no check.
    """
    known, found = tuple(ids), []
    for name in selected:
        choices = (name, _TENSOR.sub(r"\1::\2", name))
        kept = next((one for one in choices if any(selects([one], nodeid) for nodeid in known)), None)
        if kept is None:
            raise InputError(f"no check called {name}; list them with --co")
        found.append(kept)
    return found


def named(arg: str) -> str:
    """An argument without folders before its root."""
    path, *rest = arg.split("::")
    return "::".join([Path(path).name, *rest])
