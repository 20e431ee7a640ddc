"""YAML by the safe loader, with the line of every key, and duplicate keys refused (YAML itself would let the last one win)."""

from pathlib import Path
from typing import Any

import yaml

from pytest_maxact.errors import InputError

Location = tuple[str | int, ...]


class Lines:
    """Line numbers by path into the document: `("families", "qwen3", "shapes", 0, "limits", "hidden")`."""

    def __init__(self) -> None:
        self._lines: dict[Location, int] = {}

    def add(self, location: Location, line: int) -> None:
        self._lines[location] = line

    def of(self, location: Location) -> int:
        """Line of the deepest part of `location` that the file has."""
        for end in range(len(location), 0, -1):
            if location[:end] in self._lines:
                return self._lines[location[:end]]
        return 1


def read_yaml(path: Path) -> tuple[Any, Lines]:
    """The document as plain data, and its lines. Raises InputError with the line for malformed YAML or a repeated key."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"no limits file at {path}\n  --maxact-limits takes a YAML file; without it the shipped limits apply") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the limits file {path}: {error}") from error
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        lines = Lines()
        _walk(node, (), lines, path, frozenset())
        return (loader.construct_document(node) if node is not None else None), lines
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise InputError(
            f"{where}: malformed YAML: {problem}\n  correct the line; thresholds.yaml in the package shows the form"
        ) from error
    finally:
        loader.dispose()


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
                raise InputError(f"{path}:{line}: {name!r} is given twice, first on line {seen[name]}\n  keep one of them")
            seen[name] = line
            lines.add((*location, name), line)
            _walk(value, (*location, name), lines, path, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines.add((*location, index), value.start_mark.line + 1)
            _walk(value, (*location, index), lines, path, above)
