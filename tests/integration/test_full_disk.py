"""A disk that fills up while a run writes: what was measured is judged, the run fails by what could not be written, and
nothing is left half-written.
"""

import errno
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.gate.reports import ReportFiles
from pytest_maxact.judge.account import Account
from pytest_maxact.record import output
from pytest_maxact.record.whole import Written, write_beside
from tests.support.disk import without_room
from tests.support.gate_runs import CHECKS, run_gate

Fill = Callable[..., None]


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Fill:
    """From the write of outputs on that is said, there is no room for a file of this name."""

    def filled(name: str, after: int = 0, error: int = errno.ENOSPC) -> None:
        left = after

        def write(target: Path, content: bytes, mode: int | None = None) -> Written:
            nonlocal left
            if target.name == name:
                left -= 1
                if left < 0:
                    raise OSError(error, "No space left on device")
            return write_beside(target, content, mode)

        monkeypatch.setattr(output, "write_beside", write)

    return filled


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_what_cannot_be_saved_is_judged_and_then_fails_the_run(
    error: int, fill: Fill, checkpoint: Path, corpus: Path, pytester: pytest.Pytester
) -> None:
    fill("r", error=error)
    run_gate(
        pytester,
        f"--maxact-model={checkpoint}",
        f"--maxact-corpus={corpus}",
        "--maxact-save=r",
        "--maxact-verdict=v",
        exit=1,
        passed=CHECKS,
        says=[
            "FAIL: cannot write the Record to r: No space left on device",
            "give a path in a folder" if error == errno.EIO else "free space there, or give another path",
            f"{CHECKS} of {CHECKS} checks that were judged hold",
        ],
        lacks=["Traceback", "Record written", "PASS:"],
    )
    assert not list(pytester.path.glob("*.partial")) + list(pytester.path.glob("r"))
    assert '"verificationResult": "FAILED"' in (pytester.path / "v").read_text()


def test_a_test_that_asks_for_the_record_has_it(
    fill: Fill, checkpoint: Path, corpus: Path, pytester: pytest.Pytester
) -> None:
    fill("r")
    run_gate(
        pytester,
        f"--maxact-model={checkpoint}",
        f"--maxact-corpus={corpus}",
        "--maxact-save=r",
        "test_own.py",
        "-k",
        "own",
        files={"test_own.py": "def test_own(maxact_record):\n    assert maxact_record.tokens\n"},
        exit=1,
        passed=1,
        says=["cannot write the Record to r: No space left on device"],
    )


def test_a_verdict_that_cannot_be_written_is_refused_before_anything_is_judged(
    fill: Fill, saved: Path, pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    fill("v")
    words = "cannot write the verdict to v: No space left on device\n  free space there, or give another path"
    run_gate(pytester, f"--maxact-replay={saved}", "--maxact-verdict=v", refuses=words)
    assert main(["judge", str(saved), "--verdict", "v"]) == 4
    assert words in capsys.readouterr().err
    assert not list(pytester.path.glob("*v*"))


def test_a_verdict_that_cannot_be_finished_fails_the_run_and_says_so_itself(
    fill: Fill, saved: Path, pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    fill("v", after=1)
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-verdict=v",
        exit=1,
        complaints=["maxact: the verdict was not written: cannot write the verdict to v: No space left on device"],
    )
    assert '"finished": false' in (pytester.path / "v").read_text()
    capsys.readouterr()
    fill("v", after=1)
    assert main(["judge", str(saved), "--verdict", "v"]) == 1
    said = capsys.readouterr()
    assert "checks hold" in said.out
    assert "the verdict was not written: cannot write the verdict to v: No space left" in said.err


def test_limits_that_cannot_be_written_fail_the_run(fill: Fill, saved: Path, pytester: pytest.Pytester) -> None:
    fill("mine.yaml")
    run_gate(
        pytester,
        f"--maxact-replay={saved}",
        "--maxact-update=new",
        "--maxact-limits=mine.yaml",
        exit=1,
        says=["no limits were written: cannot write mine.yaml: No space left on device", "free space there"],
        lacks=["Traceback"],
    )
    assert not (pytester.path / "mine.yaml").exists()


def test_measure_says_in_one_message_what_it_could_not_write(
    fill: Fill, checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill("r")
    assert main(["measure", str(checkpoint), "-o", str(tmp_path / "r"), "--corpus", str(corpus)]) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith(
        f"maxact: cannot write the Record to {tmp_path / 'r'}: No space left on device\n"
        "  free space there, or give another path\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without /dev/full")
@pytest.mark.parametrize("command", ["judge", "show"])
def test_what_cannot_be_printed_is_one_line_and_a_failure(
    command: str, saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main([command, str(saved), "--json"]) == 1
        monkeypatch.undo()
    assert capsys.readouterr().err == "maxact: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("lacking", ["the folder", "what is in it"])
def test_workers_that_cannot_meet_are_a_usage_error_before_they_start(
    lacking: str, saved: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tempfile.mkdtemp

    def full(*args: object, **kwargs: object) -> str:
        if kwargs.get("prefix") == "pytest-maxact-":
            raise OSError(errno.ENOSPC, "No space left on device")
        return made(*args, **kwargs)

    if lacking == "the folder":
        monkeypatch.setattr(tempfile, "mkdtemp", full)
    else:
        without_room(monkeypatch, "handover")
    words = ": No space left on device\n  free space there, or let TMPDIR name a folder that has some"
    result = run_gate(pytester, f"--maxact-replay={saved}", "-n", "1", refuses=words, lacks=["INTERNALERROR", "passed"])
    assert "ERROR: what the processes of this run share cannot be written in " in result.stderr.str()


def test_workers_that_cannot_tell_what_they_found_fail_the_run_in_words(saved: Path, pytester: pytest.Pytester) -> None:
    conftest = """
        import errno
        import os
        from pathlib import Path

        opened = Path.open

        def full(self, mode="r", *args, **kwargs):
            if self.name.startswith("ledger-") and "a" in mode:
                raise OSError(errno.ENOSPC, "No space left on device")
            return opened(self, mode, *args, **kwargs)

        if "PYTEST_XDIST_WORKER" in os.environ:
            Path.open = full
        """
    run_gate(
        pytester, f"--maxact-replay={saved}", "-n", "1", files={"conftest.py": dedent(conftest)}, exit=1, failed=CHECKS,
        says=["what the processes of this run share cannot be written in "], lacks=["Traceback", "INTERNALERROR"],
    )  # fmt: skip


def test_no_report_is_left_as_a_pass_where_another_has_no_room_and_neither_has_the_word_of_it(
    fill: Fill, tmp_path: Path
) -> None:
    files = ReportFiles({"json_report": "r.json", "sarif": "r.sarif"}, None, tmp_path)
    fill("r.sarif")
    fill_again = output.write_beside

    def write(target: Path, content: bytes, mode: int | None = None) -> Written:
        if b"No space left" in content:
            raise OSError(errno.ENOSPC, "No space left on device")
        return fill_again(target, content, mode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "write_beside", write)
        told = files.write(Account(verdict="PASS", faults=()))
    assert [fault.partition(" was ")[0] for fault in told] == ["the SARIF file", "the JSON report"]
    assert json.loads((tmp_path / "r.json").read_text())["faults"] == ["the run did not finish"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.sarif"]
