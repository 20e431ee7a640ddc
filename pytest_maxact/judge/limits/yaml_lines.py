"""YAML with the line of every key, and duplicate keys refused (YAML itself would let the last one win).

What of YAML may be used, and how much of it, `yaml_loader` says.
"""

from pathlib import Path
from typing import Any

import yaml

from pytest_maxact.errors import InputError, cut, first_line, setting, shown
from pytest_maxact.judge.limits.yaml_loader import MOST_BYTES, Loader
from pytest_maxact.settings.userfiles import (
    NoFileError,
    content_of,
    kind_of,
    lying,
    plain_text,
    refuse_stand_in,
    unreadable,
)

Location = tuple[str | int, ...]


class Lines:
    """Line numbers by path into the document: `("families", "qwen3", "shapes", 0, "limits", "hidden")`."""

    def __init__(self) -> None:
        self._lines: dict[Location, int] = {}

    def add(self, location: Location, line: int) -> None:
        self._lines[location] = line

    def of(self, location: Location) -> int:
        """Line of the deepest part of `location` that the file has; a list may be written as its single entry, without
        an index.
        """
        shorter = tuple(
            part
            for i, part in enumerate(location)
            if not (isinstance(part, int) and location[: i + 1] not in self._lines)
        )
        for end in range(len(shorter), 0, -1):
            if shorter[:end] in self._lines:
                return self._lines[shorter[:end]]
        return 1


def read_yaml(path: Path, loader: Any = Loader) -> tuple[Any, Lines]:
    """The document as plain data, and its lines. Raises InputError with the line for malformed YAML or a repeated
    key.
    """
    try:
        return parse_yaml(limits_text(path), path, loader)
    except FileNotFoundError as error:
        raise InputError(
            f"no limits file at {path}{lying(path)}\n"
            f"  {setting('limits')} takes a YAML file; without it the shipped limits apply"
        ) from error
    except NotADirectoryError as error:
        raise InputError(f"no limits file at {path}: a file lies where a folder should\n  mend the path") from error
    except (OSError, ValueError) as error:
        raise no_limits(path, error) from error


def no_limits(path: Path, error: OSError | ValueError) -> InputError:
    """The error for a limits file that cannot be read, or holds no text."""
    takes = f"{setting('limits')} takes a file of YAML, in UTF-8"
    if isinstance(error, NoFileError):
        return InputError(f"the limits file {path} is {kind_of(path)}, and no file\n  {takes}")
    if isinstance(error, OSError):
        return unreadable(path, error)
    return InputError(f"cannot read the limits file {path}: {error}\n  {takes}")


def limits_text(path: Path) -> str:
    """The text of a limits file. Raises InputError for one that is too large to be one; OSError and ValueError are left
    to the caller.
    """
    content = content_of(path, MOST_BYTES)
    if len(content) > MOST_BYTES:
        raise InputError(
            f"the limits file {path} is larger than {MOST_BYTES >> 20} MiB\n  {setting('limits')} takes a file of YAML"
        )
    refuse_stand_in(path)
    return plain_text(content)


def parse_yaml(text: str, path: Path, loader: Any = Loader) -> tuple[Any, Lines]:
    """As `read_yaml`, of what stands in the file at `path`, or would."""
    try:
        reader = loader(text)
        node = reader.get_single_node()
        lines = Lines()
        _walk(node, (), lines, path, frozenset())
        return (reader.construct_document(node) if node is not None else None), lines
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or first_line(error)
    except ValueError as error:
        where, problem = _first_bad_value(node, path), first_line(error)
    raise InputError(
        f"{where}: malformed YAML: {shown(cut(problem, 200))}\n"
        "  correct the line; thresholds.yaml in the package shows the form"
    )


def _first_bad_value(node: yaml.Node | None, path: Path) -> str:
    """Where a scalar stands that YAML takes for a date or number and cannot read."""
    if isinstance(node, yaml.ScalarNode):
        try:
            Loader("").construct_object(node)
        except ValueError:
            return f"{path}:{node.start_mark.line + 1}"
    elif isinstance(node, yaml.CollectionNode):
        children = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
        for child in children:
            if (where := _first_bad_value(child, path)) != str(path):
                return where
    return str(path)


def _walk(node: yaml.Node | None, location: Location, lines: Lines, path: Path, above: frozenset[int]) -> None:
    if node is None or id(node) in above:
        return
    above = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = key.value if isinstance(key, yaml.ScalarNode) else str(key.value)
            if name in seen:
                raise InputError(
                    f"{path}:{line}: {shown(repr(cut(name, 60)))} is given twice, first on line {seen[name]}\n"
                    "  keep one of them"
                )
            seen[name] = line
            lines.add((*location, name), line)
            _walk(value, (*location, name), lines, path, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines.add((*location, index), value.start_mark.line + 1)
            _walk(value, (*location, index), lines, path, above)
