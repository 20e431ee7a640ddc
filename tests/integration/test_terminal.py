"""What a person sees on a terminal while the gate measures, and what is not to be seen where there is none."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = """
    import time
    from pytest_maxact.measure.observe import ahead

    collate = ahead.collate

    def slowly(*args, **options):
        time.sleep(0.02)
        return collate(*args, **options)

    def pytest_configure(config):
        ahead.collate = slowly
    """
"""A conftest under which every batch takes a while."""


def on_a_terminal(python: Path, folder: Path, *args: str, **environment: str) -> tuple[int, str]:
    """What a run shows in a pseudo-terminal of 80 columns, and how it ends."""
    import fcntl
    import pty
    import struct
    import termios

    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    given = {name: value for name, value in os.environ.items() if name != "PY_COLORS"}  # pytester sets it
    given |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment}
    with subprocess.Popen(
        [python, *args], cwd=folder, env=given,
        stdin=terminal, stdout=terminal, stderr=terminal,
    ) as process:  # fmt: skip
        os.close(terminal)
        told = b""
        while True:
            try:
                if not (piece := os.read(controller, 1 << 16)):
                    break
            except OSError:  # the other end is closed
                break
            told += piece
    os.close(controller)
    return process.returncode, told.decode()


@pytest.fixture
def gate(pytester: pytest.Pytester, checkpoint: Path, corpus: Path) -> tuple[str, ...]:
    pytester.makeconftest(SLOW)
    return (
        *("-m", "pytest", f"--maxact-model={checkpoint}", f"--maxact-corpus={corpus}", "--maxact-batch-tokens=12"),
        *("-k", "layers.1.hidden"),
    )


def test_a_terminal_sees_the_bar_move_with_tokens_per_second_and_the_time_left(
    gate: tuple[str, ...], pytester: pytest.Pytester, warm_python: Path
) -> None:
    status, shown = on_a_terminal(warm_python, pytester.path, *gate)
    assert status == 0
    assert "maxact: loading the weights" in shown
    done = [int(number) for number in re.findall(r"(\d+) of 87 tokens", shown)]
    assert len(set(done)) > 4
    assert done == sorted(done)
    assert done[-1] == 87
    assert re.search(r"\d+ tokens/s, \d:\d\d left", shown)
    m = re.search(r"M         \x1b\[1m(\S+) in ", shown) or re.search(r"M +(?:\x1b\S+)?([\d.]+) in ", shown)
    assert m
    assert re.findall(r"M >= ([\d.]+)", shown)[-1] == m[1], "the running M ends as M"
    kept = [line for line in shown.rpartition("\x1b[2K")[2].splitlines() if line]
    assert not [line for line in kept if "tokens/s" in line], "it is gone when it is done"
    assert kept[-1].count("passed")


@pytest.mark.parametrize(("options", "environment"), [(("-q",), {}), (("--color=no",), {"TERM": "dumb"})])
def test_a_quiet_or_a_plain_terminal_is_sent_no_bar(
    options: tuple[str, ...],
    environment: dict[str, str],
    gate: tuple[str, ...],
    pytester: pytest.Pytester,
    warm_python: Path,
) -> None:
    status, shown = on_a_terminal(warm_python, pytester.path, *gate, *options, **environment)
    assert status == 0
    assert "\x1b[2K" not in shown
    assert ("tokens/s" in shown) == ("-q" not in options), "lines in its place, unless the run is to be quiet"


def test_workers_tell_lines_on_standard_error(gate: tuple[str, ...], pytester: pytest.Pytester) -> None:
    result = pytester.run(sys.executable, *gate, "-n", "2")
    assert result.ret == 0
    result.stderr.fnmatch_lines(["maxact: loading the weights", "maxact: measured * of 87 tokens (*), * tokens/s*"])
    assert "tokens/s" not in result.stdout.str()
    assert "\x1b" not in result.stderr.str()


def test_the_command_shows_it_on_standard_error_too(
    checkpoint: Path, corpus: Path, pytester: pytest.Pytester, warm_python: Path
) -> None:
    command = ("measure", str(checkpoint), "-o", "out.safetensors", "--corpus", str(corpus), "--batch-tokens", "12")
    status, shown = on_a_terminal(warm_python, pytester.path, "-m", "pytest_maxact.cli", *command)
    assert status == 0
    assert "87 of 87 tokens" in shown
    assert "\x1b[2K" in shown
