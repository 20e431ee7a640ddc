"""A machine that only judges: this package and what the recipe of the docs names, without torch and transformers."""

import re
from pathlib import Path

import pytest

from pytest_maxact.record.file import save
from tests.support import judging_alone
from tests.support.gate_runs import CHECKS
from tests.support.measuring import record_of
from tests.support.paths import REPOSITORY

COMMANDS = """
import sys
import pytest
from pytest_maxact.cli import main

record, one, other = sys.argv[1:]
commands = [
    ["judge", record, "--verdict", "verdict.json"],
    ["show", record],
    ["merge", other, one, "-o", "whole"],
    ["compare", record, "whole"],
    ["suggest", record],
    ["series", record],
    ["explain", "max_abs"],
]
codes = [main(command) for command in commands]
assert codes == [0] * len(commands), codes
assert main(["measure", ".", "-o", "new"]) == 4
code = pytest.main(["--maxact-replay=whole"])
assert code == 0, code
assert not {"torch", "transformers"} & sys.modules.keys()
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judging_alone.environment(tmp_path_factory.mktemp("judging") / "environment")


def test_the_recipe_names_all_that_the_package_needs_but_torch_and_transformers() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has none")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=~! ]", need)[0] for need in project["dependencies"]}
    assert sorted(judging_alone.named()) == sorted(name for name in needed if name not in ("torch", "transformers"))


def test_records_are_merged_shown_judged_and_replayed_where_neither_is_installed(
    python: Path, saved: Path, checkpoint: Path, corpus: Path, tmp_path: Path
) -> None:
    for part in (1, 2):
        save(record_of(checkpoint, corpus, shard=f"{part}/2"), tmp_path / f"part-{part}")
    run = judging_alone.ran(python, tmp_path, COMMANDS, str(saved), "part-1", "part-2")
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{CHECKS} passed" in run.stdout
    assert "torch cannot be imported (No module named 'torch')" in run.stderr
