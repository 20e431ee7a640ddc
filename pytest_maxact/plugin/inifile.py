"""The project's ini file as pytest read it: what is written there for the gate, in the types of its format.

`config.getini` takes one type per key, and what it makes of another differs from one version of pytest to the next:
what was read is looked at itself.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_maxact.settings.option import PREFIX
from pytest_maxact.settings.options import OPTIONS

if TYPE_CHECKING:
    from pytest_maxact.settings.ini import Ini

_KEYS = frozenset(option.ini for option in OPTIONS)


def written(config: pytest.Config) -> "Ini":
    """Every value of the gate's, `-o` included."""
    found = {key: value for key, value in _read(config).items() if key in _KEYS}
    if not found:
        return {}
    from pytest_maxact.settings.ini import Written

    places = _places(config, found)
    return {key: Written(value=value, place=places[key]) for key, value in found.items()}


def value_of(config: pytest.Config, field: str) -> object | None:
    """What is written for a setting; None where that is nothing."""
    there = written(config).get(f"{PREFIX}_{field}")
    return None if there is None or there.is_none else there.value


def refuse_unknown_keys(config: pytest.Config) -> None:
    """Refuse a key that nobody reads and that was meant for the gate, by an InputError."""
    if unknown := sorted(config._get_unknown_ini_keys()):
        from pytest_maxact.settings.ini import refuse_unknown

        refuse_unknown(unknown, _places(config, unknown))


def _read(config: pytest.Config) -> dict[str, object]:
    """By key, as pytest keeps it: since its version 9 with where it comes from."""
    kept = config._inicfg if hasattr(config, "_inicfg") else config.inicfg
    return {str(key): getattr(entry, "value", entry) for key, entry in kept.items()}


def _places(config: pytest.Config, keys: Iterable[str]) -> dict[str, str]:
    """Where each stands, for a person."""
    overridden = {str(entry).partition("=")[0] for entry in config.getoption("override_ini", None) or ()}
    return {key: "-o" if key in overridden else _line(config.inipath, key) for key in keys}


def _line(file: Path | None, key: str) -> str:
    if file is None:
        return "ini file"
    name = os.path.relpath(file) if file.is_relative_to(Path.cwd()) else str(file)
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    pattern = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*[=:]""")
    found = next((number for number, line in enumerate(lines, 1) if pattern.match(line)), None)
    return f"{name}:{found}" if found else name
