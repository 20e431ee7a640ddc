"""The rules of the house: small modules, functions and classes; tests that mirror rooms and lean on no other test."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

PACKAGE = REPOSITORY / "pytest_maxact"
TESTS = REPOSITORY / "tests"
ROOMLESS = {"docs", "integration", "real"}
"""Folders of tests that are of no one room: what the pages say, and features through real runs."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def named(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def parsed(folder: Path, kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[str, ast.AST]]:
    """Every node of this kind under a folder, with where it stands."""
    for path in modules(folder):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, kind):
                yield f"{named(path)}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', '')}".rstrip(), node


def imported(node: ast.AST) -> list[str]:
    """Modules that an import statement may reach: `from a.b import c` is a.b or a.b.c."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert isinstance(node, ast.ImportFrom)
    return [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_there_is_a_house_to_look_at() -> None:
    assert len(modules(PACKAGE)) > 50
    assert len(modules(TESTS)) > 50


def test_the_package_has_at_most_fourteen_entries_at_its_top() -> None:
    found = {path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    entries = found - {"__main__.py"}  # its place is Python's choice
    assert len(entries) <= 14, sorted(entries)


def test_no_module_is_longer_than_300_lines() -> None:
    assert not {named(path): len(lines(path)) for path in modules(PACKAGE) if len(lines(path)) > 300}


def test_no_test_module_is_longer_than_400_lines() -> None:
    long = {named(path): len(lines(path)) for path in TESTS.rglob("test_*.py") if len(lines(path)) > 400}
    assert not long


def test_no_function_is_longer_than_60_lines() -> None:
    assert not [
        where
        for where, node in parsed(PACKAGE, (ast.FunctionDef, ast.AsyncFunctionDef))
        if isinstance(node, Function) and (node.end_lineno or 0) - node.lineno + 1 > 60
    ]


def test_no_class_has_more_than_15_methods() -> None:
    crowded = {
        where: sum(isinstance(member, Function) for member in node.body)
        for where, node in parsed(PACKAGE, ast.ClassDef)
        if isinstance(node, ast.ClassDef)
    }
    assert not {where: methods for where, methods in crowded.items() if methods > 15}


@pytest.mark.parametrize("folder", ["pytest_maxact", "tests", "benchmarks"])
def test_no_line_is_wider_than_120_columns(folder: str) -> None:
    assert not [
        f"{named(path)}:{number}"
        for path in modules(REPOSITORY / folder)
        for number, line in enumerate(lines(path), 1)
        if len(line) > 120
    ]


def _statements(node: ast.AST, block: str) -> list[ast.AST]:
    found = getattr(node, block, None)
    return found if isinstance(found, list) else []


def test_nothing_stands_behind_what_leaves_a_block() -> None:
    """As the second half of a text, behind a return of the first."""
    ends = (ast.Return, ast.Raise, ast.Continue, ast.Break)
    found = [
        where
        for folder in (PACKAGE, TESTS)
        for where, node in parsed(folder, (*Function.__args__, ast.If, ast.For, ast.While, ast.With, ast.Try))
        for block in ("body", "orelse", "finalbody")
        for one in _statements(node, block)[:-1]
        if isinstance(one, ends)
    ]
    assert found == []


def test_every_module_says_what_it_is() -> None:
    mute = [named(path) for path in modules(PACKAGE) if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not mute


def test_what_is_private_to_a_module_of_the_package_stays_in_it() -> None:
    assert not [
        where
        for where, node in parsed(PACKAGE, ast.ImportFrom)
        if isinstance(node, ast.ImportFrom)
        and any(alias.name.startswith("_") and not alias.name.startswith("__") for alias in node.names)
    ]


def test_no_test_module_imports_another() -> None:
    assert not [
        where
        for where, node in parsed(TESTS, (ast.Import, ast.ImportFrom))
        if any(name.startswith("tests.") and ".test_" in name for name in imported(node))
    ]


def test_every_folder_of_tests_mirrors_a_room() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    rooms = {folder for folder in folders if folder.parts and folder.parts[0] not in ROOMLESS}
    assert rooms
    assert not [str(room) for room in rooms if not (PACKAGE / room / "__init__.py").exists()]


def test_types_and_style_are_held_to_the_oldest_python_that_is_taken() -> None:
    """What only a later standard library has, mypy finds; what only a later syntax has, ruff."""
    text = (REPOSITORY / "pyproject.toml").read_text()
    (oldest,) = re.findall(r'^requires-python = ">=3\.(\d+)"', text, re.MULTILINE)
    assert re.findall(r'^python_version = "3\.(\d+)"', text, re.MULTILINE) == [oldest]
    assert re.findall(r'^target-version = "py3(\d+)"', text, re.MULTILINE) == [oldest]
