"""A command that is asked to end, as runners of CI and batch systems ask before they kill: a line and the exit code of
that signal, no traceback, and no file that is not whole.
"""

import os
import signal as signals
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_maxact.record.file import load
from pytest_maxact.record.whole import write_whole

AT = """\
import builtins, os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
own = {at}

def asked(*told, **how):
    {at} = own
    os.kill(os.getpid(), signal.{signal})
    print("it went on", file=sys.stderr)

{at} = asked
from pytest_maxact.cli.main import main
sys.exit(main({how}))
"""
TWICE = """\
import builtins, os, signal, sys

def once_more():
    os.kill(os.getpid(), signal.SIGTERM)

own = {at}

def asked(*told, **how):
    {at} = own
    try:
        once_more()
    finally:
        once_more()

{at} = asked
from pytest_maxact.cli.main import main
code = main()
once_more()
sys.exit(code)
"""
PUTTING, PRINTING = "os.replace", "builtins.print"


def ended(*words: object, at: str, signal: str = "SIGTERM", how: str = "") -> "subprocess.CompletedProcess[str]":
    """A command that is sent a signal when it first comes to put a file in place, or to print. `how`: with what `main`
    is called.
    """
    code = AT.format(at=at, signal=signal, how=how)
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], text=True, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (("measure", "{model}", "--corpus", "{corpus}", "--resume", "off", "-o"), "new.safetensors"),
        (("judge", "{record}", "--json-report"), "new.json"),
        (("card", "{record}", "-o"), "README.md"),
        (("suggest", "{record}", "--update", "all", "--limits"), "limits.yaml"),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else "",
)
def test_what_was_being_written_is_not_there_and_nothing_lies_beside_it(
    words: tuple[str, ...], file: str, checkpoint: Path, corpus: Path, saved: Path, tmp_path: Path, warm_children: Path
) -> None:
    given = {"model": checkpoint, "corpus": corpus, "record": saved}
    run = ended(*(word.format(**given) for word in words), tmp_path / file, at=PUTTING)
    assert run.returncode == 143, run.stderr
    assert run.stderr.splitlines()[-1] == "maxact: ended by SIGTERM before it was done; no file was left half-written"
    assert "Traceback" not in run.stderr
    assert "it went on" not in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_before_stays(
    checkpoint: Path, corpus: Path, tmp_path: Path, saved: Path, warm_children: Path
) -> None:
    place = tmp_path / "run.safetensors"
    place.write_bytes(saved.read_bytes())
    assert ended("measure", checkpoint, "--corpus", corpus, "-o", place, at=PUTTING).returncode == 143
    assert load(place).carrier == load(saved).carrier


@pytest.mark.parametrize(("signal", "code", "how"), [("SIGTERM", 143, "ended by"), ("SIGINT", 130, "interrupted")])
def test_what_only_prints_ends_likewise(
    signal: str, code: int, how: str, checkpoint: Path, warm_children: Path
) -> None:
    run = ended("lint", checkpoint, at=PRINTING, signal=signal)
    assert (run.returncode, how in run.stderr) == (code, True), run.stderr
    assert "Traceback" not in run.stderr


def test_a_signal_that_comes_twice_at_once_as_timeout_sends_it_is_one(checkpoint: Path, warm_children: Path) -> None:
    twice = TWICE.format(at=PRINTING)
    run = subprocess.run(
        [sys.executable, "-c", twice, "lint", str(checkpoint)], text=True, capture_output=True, check=False
    )
    assert run.returncode == 143, run.stderr
    assert run.stderr == "maxact: ended by SIGTERM before it was done; no file was left half-written\n"


def test_a_program_that_calls_a_command_is_ended_itself_and_does_not_run_on(checkpoint: Path) -> None:
    run = ended("lint", checkpoint, at=PRINTING, how="sys.argv[1:]")
    assert run.returncode == -signals.SIGTERM, run.stderr
    assert "it went on" not in run.stderr


def test_a_write_that_is_interrupted_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*told: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file", b"content")
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_a_file_may_be_as_long_as_its_system_allows_in_every_script(tmp_path: Path) -> None:
    place = tmp_path / f"{'数' * 83}.json"
    write_whole(place, b"content")
    assert list(tmp_path.iterdir()) == [place]
