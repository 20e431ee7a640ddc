"""Ids of the gate's checks, as they are printed and pasted. They begin with `maxact` where others have a file: without
help pytest would look for a file called so.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.plugin.place import is_place

_TENSOR = re.compile(r"^(maxact(?:::[^:]+)?::weights)\..+::(\w+)$")
_OF_A_SERIES = re.compile(r"maxact\[(.*)\]")


def is_own(nodeid: str) -> bool:
    """Whether an id is that of a check, or of a node above one."""
    return nodeid.split("::")[0] == "maxact"


def name_of(nodeid: str) -> str:
    """What an item with this id is called: all that tells it from others."""
    return nodeid.removeprefix("maxact::")


def own_id(config: pytest.Config, argument: str) -> str | None:
    """The id of the gate's that an argument stands for, None where it is another's.

    Below the root directory pytest prints them as `../maxact::...`, and so they are pasted. Editors put the file in the
    place of `maxact` that their nodes lie in. `maxact[checkpoint-5]` was the root of a member of a series. Where there
    is a folder called `maxact`, that name alone is the folder, and what has parts is ours: a folder has none.
    """
    place, *rest = argument.split("::")
    root = Path(place).name
    if member := _OF_A_SERIES.fullmatch(root):
        root, rest = "maxact", [member[1], *rest]
    theirs = Path(place).is_file() if rest else Path(place).exists()
    if (root == "maxact" and not theirs) or is_place(config, place):
        return "::".join(["maxact", *rest])
    return None


def take_own(config: pytest.Config) -> list[str]:
    """Those on the command line, taken out of what pytest takes for paths; those to be deselected, as pytest knows
    them.
    """
    found = {arg: own_id(config, arg) for arg in config.args}
    config.args = [arg for arg in config.args if found[arg] is None]
    if config.option.deselect:
        config.option.deselect = [own_id(config, one) or one for one in config.option.deselect]
    return [own for own in found.values() if own is not None]


def selects(selected: Iterable[str], nodeid: str) -> bool:
    """Whether one of the selected ids is that of a check, or of a node above it, or of waivers of its site."""
    return any(name in ("maxact", nodeid) or nodeid.startswith((f"{name}::", f"{name}:")) for name in selected)


def known_as(selected: Iterable[str], ids: Iterable[str]) -> list[str]:
    """The selected ids, in the place of one of a single tensor that of all weights, which tells of it once the files
    were read. Raises InputError for an id of which the run has no check.
    """
    known, found = tuple(ids), []
    for name in selected:
        choices = (name, _TENSOR.sub(r"\1::\2", name), _TENSOR.sub(r"\1::lint", name))
        kept = next((one for one in choices if any(selects([one], nodeid) for nodeid in known)), None)
        if kept is None:
            raise InputError(f"no check called {name}; list them with --co")
        found.append(kept)
    return found
