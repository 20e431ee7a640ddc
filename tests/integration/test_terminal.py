"""What a person sees on a terminal while the gate measures, and what is not to be seen where there is none."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_maxact.cli import main
from pytest_maxact.record.file import save
from tests.support.gate_runs import run_gate
from tests.support.records import record, sites

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
    m = re.search(r"\bM +([\d.]+) in ", re.sub(r"\x1b\[[0-9;]*m", "", shown))
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


DEEP = ("-p", "no:cacheprovider", "--maxact-family=generic")


@pytest.fixture
def replayed(tmp_path: Path) -> str:
    """A Record of a model that is too deep to be shown whole."""
    rows = {site.name: [[1.0, 0.5]] for site in sites(24, ("hidden", "attn_output"))}
    save(
        record({**rows, "layers.9.attn_output": [[70_144.0, 0.5]]}, layers=24, hidden_size=2),
        tmp_path / "deep.safetensors",
    )
    return f"--maxact-replay={tmp_path / 'deep.safetensors'}"


@pytest.mark.parametrize("option", ["", "-q", "-qq", "-v", "-vv", "--tb=no", "--tb=short", "--tb=long", "-rN", "-n2"])
def test_a_breach_is_told_however_much_is_asked_for(option: str, replayed: str, pytester: pytest.Pytester) -> None:
    told = run_gate(pytester, replayed, *DEEP, *filter(None, [option]), exit=1)
    lines, text = told.outlines, " ".join(told.stdout.str().split())
    quiet, whole = option.startswith("-q"), option.startswith("-v")
    assert re.search(r"FAIL: \d+ of \d+ checks do(es)? not hold", text)
    assert "layers.9.attn_output max_abs: 70144 exceeds 65504" in text
    assert any(re.match(r"layer +max\|a\|", line) for line in lines) is not quiet
    assert ("of 24 layers are folded" in text) == (not quiet and not whole)
    rows = [line for line in lines if re.match(r"  attn_output ", line)]
    assert len(rows) == (0 if quiet else 24 if whole else 1)
    assert len([line for line in lines if line.startswith("maxact: FAIL")]) == quiet


@pytest.mark.parametrize("given", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {"TERM": "xterm"}, {"TERM": "linux"}])
def test_colours_are_the_eight_of_any_terminal_or_none(
    given: dict[str, str], replayed: str, pytester: pytest.Pytester, warm_python: Path
) -> None:
    status, shown = on_a_terminal(warm_python, pytester.path, "-m", "pytest", replayed, *DEEP, **given)
    assert status == 1
    report = shown[shown.index("model ") :]
    codes = {int(code) for codes in re.findall(r"\x1b\[([\d;]*)m", report) for code in codes.split(";") if code}
    assert codes <= {0, 1, 2, *range(30, 38)}
    assert bool(codes) == (given.get("TERM") in ("xterm", "linux"))


def test_the_command_has_the_same_three_measures(replayed: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = replayed.partition("=")[2]
    seen = {}
    for option in ("-q", "-v", ""):
        assert main(["judge", file, "--family", "generic", *filter(None, [option])]) == 1
        seen[option] = capsys.readouterr().out
    assert " ".join(seen["-q"].split()).startswith(
        "FAIL: 1 of 103 checks does not hold: layers.9.attn_output max_abs: 70144"
    )
    assert len(seen["-q"].splitlines()) < 4
    assert "of 24 layers are folded" in " ".join(seen[""].split())
    assert len(re.findall(r"^  attn_output ", seen["-v"], re.MULTILINE)) == 24
    assert main(["show", file, "-v"]) == 0
    assert len(re.findall(r"^  attn_output ", capsys.readouterr().out, re.MULTILINE)) == 24
