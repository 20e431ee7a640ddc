"""What a run was asked to do, resolved once: command line, then ini file, then default."""

from collections.abc import Mapping, Set
from dataclasses import fields
from glob import has_magic
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pytest_maxact.errors import InputError, setting
from pytest_maxact.settings.ini import Ini, ini_value
from pytest_maxact.settings.option import Option
from pytest_maxact.settings.options import OPTIONS
from pytest_maxact.settings.places import expanded
from pytest_maxact.settings.settings import Settings


def resolve(given: Mapping[str, Any], ini: Ini = MappingProxyType({}), folder: Path | None = None) -> Settings:
    """Settings from parsed command-line values (None where not given) and those of an ini file, whose paths start from
    `folder`.

    Raises InputError for a bad ini value, options that exclude each other, and options that would silently do nothing:
    those of a gate that nobody asked for, and those of a measurement where a Record is replayed. In an ini file such
    values lie idle.
    """
    explicit = {option.name for option in OPTIONS if given.get(option.field) is not None}
    values = _values(given, ini, folder)
    for given_name, other in (("replay", "model"), ("model", "replay")):
        if given_name in explicit and other not in explicit:
            values.pop(other, None)
    _refuse_contradictions(values, explicit)
    _refuse_idle(values, explicit)
    if "replay" in values:
        values = {name: value for name, value in values.items() if name in _JUDGING or given.get(name) is not None}
    return Settings(**{field.name: values[field.name] for field in fields(Settings) if field.name in values})


def _values(given: Mapping[str, Any], ini: Ini, folder: Path | None) -> dict[str, Any]:
    """By field, of what stands on the command line or in the ini file."""
    values: dict[str, Any] = {}
    for option in OPTIONS:
        value = given.get(option.field)
        written = ini.get(option.ini)
        if value is None and written and not written.is_none:
            value = ini_value(option, written, folder)
        if value is not None:
            values[option.field] = _expanded(option, value)
    return values


def _refuse_contradictions(values: Mapping[str, Any], explicit: Set[str]) -> None:
    """Raise InputError for settings that exclude each other, or this run."""
    if "replay" in values and "model" in values:
        raise InputError(
            f"{setting('model')} measures a checkpoint and {setting('replay')} judges a saved Record; give one of them"
        )
    for name, what in (("update", "rewrite limits"), ("loosen", "loosen limits")):
        if values.get(name) and name not in explicit:
            raise InputError(
                f"maxact_{name} in an ini file would {what} at every run\n"
                f"  give {setting(name)} on the command line, when you mean it"
            )
    if "horizon" in explicit and not has_magic(values.get("replay", values.get("model", "*"))):
        raise InputError(
            f"{setting('horizon')} looks ahead of a series, and this run has one checkpoint\n"
            f"  give a pattern, as in {setting('model')}='runs/checkpoint-*'"
        )


def _refuse_idle(values: Mapping[str, Any], explicit: Set[str]) -> None:
    """Raise InputError for options that would silently do nothing."""
    if explicit and "replay" not in values and "model" not in values:
        raise InputError(
            f"{_said(min(explicit))} does nothing without {setting('model')} or {setting('replay')}\n"
            "  give one of them, or leave it out"
        )
    if values.get("slim") and "slim" in explicit and not {"save", "replay"} & values.keys():
        raise InputError(f"{setting('slim')} does nothing without {setting('save')}\n  give it a file, or leave it out")
    if values.get("loosen") and values.get("update") != "all":
        raise InputError(
            f"{setting('loosen')} does nothing without {setting('update')} all\n  give both, or leave it out"
        )
    measuring = {option.name for option in OPTIONS if option.measures} - {"model", "protocol"}
    if "replay" in values and (idle := sorted(explicit & measuring)):
        raise InputError(
            f"{_said(idle[0])} shapes a measurement, and {setting('replay')} makes none\n  leave one of them out"
        )


def _said(name: str) -> str:
    return setting(name.replace("-", "_"))


def _expanded(option: Option, value: Any) -> Any:
    if option.repeatable:
        return tuple(str(expanded(entry)) for entry in dict.fromkeys(value))
    return str(expanded(value)) if option.is_path else value


_JUDGING = frozenset(option.field for option in OPTIONS if not option.measures)
