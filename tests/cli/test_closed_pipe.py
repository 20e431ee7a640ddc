"""A command whose output nobody reads to its end, as under `| head -1`: no traceback, no second verdict, and an exit
code that is neither that of a PASS nor that of a breach.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

MAXACT = (sys.executable, "-m", "pytest_maxact.cli")


def ran(words: Sequence[object], closed: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A command of which one stream has no reader; the other is kept."""
    read, write = os.pipe()
    os.close(read)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {closed: write}
    try:
        return subprocess.run(
            [*MAXACT, *map(str, words)], text=True, check=False, env={**os.environ, **environment}, **streams
        )
    finally:
        os.close(write)


@pytest.mark.parametrize("words", [["judge"], ["judge", "--json"], ["show"]])
def test_it_ends_as_other_tools_do(words: list[str], saved: Path) -> None:
    run = ran([*words, saved], "stdout")
    assert (run.returncode, run.stderr) == (141, "")


@pytest.mark.parametrize(("words", "codes"), [("--version", {141}), ("--help", {0, 141})])
def test_what_tells_of_the_command_itself_has_no_traceback(words: str, codes: set[int]) -> None:
    """argparse keeps quiet about a help that nobody reads."""
    run = ran([words], "stdout")
    assert run.stderr == ""
    assert run.returncode in codes


def test_what_is_wrong_and_cannot_be_told_is_no_pass(saved: Path, tmp_path: Path) -> None:
    run = ran(["show", tmp_path / "none"], "stderr")
    assert (run.returncode, run.stdout) == (141, "")
    verdict = tmp_path / "verdict.json"
    assert ran(["judge", saved, "--verdict", verdict], "stdout").returncode == 141
    assert '"finished": false' in verdict.read_text()


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_runner_is_told_one_verdict(closed: str, saved: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    run = ran(["judge", saved], closed, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert run.returncode == 141
    assert summary.read_text().count("## maxact: ") == 1
    assert "## maxact: PASS" in summary.read_text()
    assert "no verdict" not in (run.stderr or "")
