"""Limits files: read, validated, and every fault told with its file, line, key and a suggestion."""

import difflib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pytest_maxact.errors import InputError, cut, setting, shown
from pytest_maxact.judge.limits.keys import BY_KIND
from pytest_maxact.judge.limits.schema.document import LimitsDocument
from pytest_maxact.judge.limits.schema.family import Checkpoint, Envelope, Family, Int8Rule, MeasuredOn, Shape
from pytest_maxact.judge.limits.schema.sections import (
    Change,
    Deploy,
    Fitness,
    FoundOn,
    Generic,
    Margins,
    Regression,
    Spread,
    StaticScales,
    WaiverEntry,
    Weights,
)
from pytest_maxact.judge.limits.schema.terms import INT8
from pytest_maxact.judge.limits.yaml_lines import Lines, Location, parse_yaml, read_yaml
from pytest_maxact.judge.limits.yaml_loader import FAST
from pytest_maxact.numbers.sites import KINDS
from pytest_maxact.record.output import Kind

_NOT_IN_THE_FILE = ("[key]", "[number]", "[text]", "[list]", "[mapping]")
"""Parts of pydantic's locations that are no key of the file."""
_SHARED = "generic"
"""What stands for no family, in a file and where one is asked for."""
_MOST_SHOWN = 80
"""So much of a key or a value stands in a message."""
_OTHER_BY_KIND = (
    "by_layer",
    "medians",
    *(name for name in Margins.model_fields if name not in ("source", "small", "evidence")),
)
"""Keys that hold figures and factors by site kind, beside those of limits."""


class LimitsFile:
    """A validated document, its path and the lines of its keys."""

    def __init__(self, document: LimitsDocument, path: Path, lines: Lines) -> None:
        self.document = document
        self.path = path
        self._lines = lines

    def line(self, *location: str | int) -> int:
        return self._lines.of(location)

    def where(self, *location: str | int) -> str:
        return f"{self.path}:{self.line(*location)}"


def builtin_path() -> Path:
    """thresholds.yaml: beside this module in a wheel, at the top of the repository in an editable install."""
    here = Path(__file__)
    for candidate in (here.with_name("thresholds.yaml"), here.parents[3] / "thresholds.yaml"):
        if candidate.is_file():
            return candidate
    raise InputError("the shipped thresholds.yaml is missing from this installation\n  reinstall pytest-maxact")


def load_limits(path: str | os.PathLike[str] | None = None) -> list[LimitsFile]:
    """The limits files that apply, first the one that wins: the file at `path` and what it extends, or the shipped one.

    Raises InputError with file, line and key for anything that is not a valid limits file.
    """
    if path is None:
        return [_shipped()]
    return _with_builtin(_load(Path(path)))


def parse_limits(text: str, path: Path) -> list[LimitsFile]:
    """As `load_limits`, of what would stand in the file at `path`."""
    return _with_builtin(_validated(*parse_yaml(text, path), path))


def is_limits(path: Path) -> bool:
    """Whether a file is a limits file by its contents: it states a version, and no key that such a file has not."""
    try:
        data, _ = read_yaml(path)
    except (InputError, OSError, RecursionError):
        return False
    return isinstance(data, dict) and "version" in data and data.keys() <= LimitsDocument.model_fields.keys()


LIMITS = Kind(called="limits", is_one=is_limits)


def _with_builtin(own: LimitsFile) -> list[LimitsFile]:
    if own.document.extends is None:
        return [own]
    builtin = _shipped()
    if own.document.protocol != builtin.document.protocol:
        raise InputError(
            f"{own.where('protocol')}: protocol {own.document.protocol!r} cannot extend the shipped limits, which hold "
            f"for {builtin.document.protocol!r}\n"
            f"  leave out `extends`, and state figures measured under {own.document.protocol!r}"
        )
    return [own, builtin]


@functools.cache
def _shipped() -> LimitsFile:
    path = builtin_path()
    return _validated(*read_yaml(path, FAST), path)


def _load(path: Path) -> LimitsFile:
    return _validated(*read_yaml(path), path)


def _validated(data: Any, lines: Lines, path: Path) -> LimitsFile:
    if not isinstance(data, dict):
        raise InputError(f"{path}:1: a limits file is a mapping that begins with `version: 1`")
    try:
        document = LimitsDocument.model_validate(data)
    except ValidationError as error:
        raise InputError("\n  ".join(_explain(path, lines, error))) from error
    if document.extends is None and not document.families and document.generic is None:
        raise InputError(f"{path}:1: no families, so no limits\n  add `families:`, or `extends: builtin`")
    if _SHARED in document.families:
        raise InputError(
            f"{path}:{lines.of(('families', _SHARED))}: families.{_SHARED}: no family is called so: {setting('family')}"
            f" {_SHARED} judges by what all share, and would leave these limits out\n"
            f"  give the family another name, or write what all share under `{_SHARED}:` at the top"
        )
    return LimitsFile(document, path, lines)


def _explain(path: Path, lines: Lines, error: ValidationError, most: int = 3) -> Iterator[str]:
    problems = error.errors(include_url=False, include_context=False)
    for problem in problems[:most]:
        location: Location = tuple(part for part in problem["loc"] if part not in _NOT_IN_THE_FILE)
        key = shown(".".join(cut(str(part), _MOST_SHOWN) for part in location)) or "document"
        yield f"{path}:{lines.of(location)}: {key}: {shown(_message(problem, location))}"
    if len(problems) > most:
        yield f"and {len(problems) - most} more"


def _message(problem: Any, location: Location) -> str:
    name, given = str(location[-1]) if location else "", problem.get("input")
    if problem["type"] == "extra_forbidden":
        if len(location) == 1 and name in _keys_at(("families", "")):
            return f"is no key here; it stands below a family, `families: {{NAME: {{{name}: ...}}}}`"
        return f"unknown key{_did_you_mean(name, _keys_at(location[:-1]))}"
    if problem["type"] == "missing":
        return "is missing; a limits file begins with `version: 1`" if location == ("version",) else "is missing"
    if problem["loc"] and problem["loc"][-1] == "[key]" and {*BY_KIND, *_OTHER_BY_KIND} & set(location):
        kinds = [*KINDS, INT8] if "headroom" in location else list(KINDS)
        return f"no site kind called {name!r}{_did_you_mean(name, kinds)}"
    if problem["type"] in ("float_type", "int_type") and isinstance(given, str):
        return f"{_brief(given)} is text, not a number; write 100000 or 1.0e+5, with no 0 before it, no `_` and no `:`"
    if str(problem["type"]).startswith("date"):
        return f"{_brief(given)} is no date; write it as 2027-01-31, without quotes"
    if problem["type"] == "finite_number":
        return f"{given} is not a limit; write a finite number"
    message = str(problem["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    return f"{message}, not {_brief(given)}" if not isinstance(given, (dict, list)) else message


def _brief(given: Any) -> str:
    """A value as it was given, cut where it is long."""
    return repr(cut(given, _MOST_SHOWN)) if isinstance(given, str) else cut(repr(given), _MOST_SHOWN)


def _keys_at(location: Location) -> list[str]:
    """Keys allowed at a place, found by walking the models along `location`."""
    here: Any = LimitsDocument
    for part in location:
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = _Children.get((here.__name__, str(part)))
        elif isinstance(here, tuple):
            here = here[0]
        if here is None:
            return []
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


_Children: dict[tuple[str, str], Any] = {
    ("LimitsDocument", "generic"): Generic,
    ("LimitsDocument", "text"): FoundOn,
    ("Generic", "weights"): Weights,
    ("Generic", "static_scales"): StaticScales,
    ("LimitsDocument", "deploy"): Deploy,
    ("LimitsDocument", "regression"): Regression,
    ("LimitsDocument", "waive"): (WaiverEntry,),
    ("LimitsDocument", "margins"): Margins,
    ("LimitsDocument", "families"): (Family,),
    ("Regression", "sites"): (Change,),
    ("Deploy", "schemes"): (Fitness,),
    ("Family", "shapes"): (Shape,),
    ("Family", "envelope"): Envelope,
    ("Family", "int8"): (Int8Rule,),
    ("Shape", "int8"): (Int8Rule,),
    ("Shape", "checkpoints"): (Checkpoint,),
    ("Shape", "measured"): MeasuredOn,
    ("Margins", "evidence"): Spread,
}


def _did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else (f"; there are {', '.join(known)}" if known else "")
