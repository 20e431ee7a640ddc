"""Progress in a log and on a terminal: what is done, how fast, and how long it still takes."""

import os
import re
import select
from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from pytest_maxact.report.terminal.progress import Bar, Lines, Pace, own_stream


class Clock:
    """Seconds that pass as a test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_pace_is_tokens_per_second_and_what_is_left_at_that_rate() -> None:
    pace = Pace(clock := Clock())
    assert pace.tell("measuring", 0, 0)
    clock.now += 4
    assert pace.words == "0:04", "the time so far, where nothing is known yet"
    assert not pace.tell("measuring", 5_000, 30_000)
    assert (pace.amount, pace.words) == ("5 000 of 30 000 tokens", "1 250 tokens/s, 0:20 left")
    clock.now += 5
    assert pace.words == "1 250 tokens/s, 0:15 left", "it counts down between two batches"
    clock.now += 100
    assert pace.words == "1 250 tokens/s, 0:00 left", "and never below nothing"
    assert not pace.tell("measuring", 30_000, 30_000)
    assert pace.words == "275 tokens/s"


@pytest.mark.parametrize(
    ("done", "total", "words"),
    [
        (36, 36_036, "10 tokens/s, 1:00:00 left"),
        (2, 4, "0.56 tokens/s, 0:04 left"),
        (36_000, 36_000, "10 000 tokens/s"),
    ],
)
def test_slow_and_fast_ones_are_told_in_digits_that_mean_something(done: int, total: int, words: str) -> None:
    pace = Pace(clock := Clock())
    pace.tell("measuring", 0, total)
    clock.now += 3.6
    pace.tell("measuring", done, total)
    assert pace.words == words


def test_the_next_thing_begins_at_nothing() -> None:
    pace = Pace(clock := Clock())
    pace.tell("loading the weights", 0, 0)
    clock.now += 60
    assert pace.tell("measuring", 0, 0)
    assert pace.words == "0:00"
    clock.now += 1
    pace.tell("measuring", 100, 200)
    assert pace.words == "100 tokens/s, 0:01 left"


def test_a_log_has_a_line_for_what_begins_and_for_every_tenth() -> None:
    log, clock = list[str](), Clock()
    update = Lines(log.append, "step-5", clock)
    update("loading the weights", 0, 0)
    for done in range(0, 1001, 7):
        update("measuring", done, 1000)
        clock.now += 0.07
    update("measuring", 1000, 1000)
    update("working out the figures", 0, 0)
    update.close()
    assert log[0] == "maxact: loading the weights of step-5"
    assert log[-2:] == [
        "maxact: measured 1000 of 1000 tokens of step-5 (100 %), 100 tokens/s",
        "maxact: working out the figures of step-5",
    ]
    assert log[6] == "maxact: measured 504 of 1000 tokens of step-5 (50 %), 100 tokens/s, 0:05 left"
    assert len(log) == 13


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """The two ends of a pseudo-terminal."""
    import pty

    controller, terminal = pty.openpty()
    yield controller, terminal
    os.close(terminal)
    os.close(controller)


def set_columns(terminal: int, columns: int) -> None:
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def everything(controller: int) -> str:
    """What was written to a terminal, which a busy machine hands over in pieces."""
    pieces = []
    while select.select([controller], [], [], 0.5)[0]:
        pieces.append(os.read(controller, 1 << 20))
    return b"".join(pieces).decode()


def test_a_bar_on_a_terminal_moves_and_leaves_nothing_behind(
    ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    controller, terminal = ends
    with open(terminal, "w", encoding="utf-8", closefd=False) as file:
        stream = own_stream(file)
    assert stream is not None
    bar = Bar(stream, "step-5", clock := Clock())
    bar("loading the weights", 0, 0)
    for done in (0, 100, 200, 400):
        bar("measuring", done, 400)
        clock.now += 1
    bar.close()
    shown = everything(controller)
    assert "maxact: loading the weights step-5" in shown
    for words in (
        "100 of 400 tokens",
        "100 tokens/s, 0:03 left",
        "200 of 400",
        "100 tokens/s, 0:02 left",
        "400 of 400",
    ):
        assert words in shown
    assert shown.rstrip().endswith("\x1b[2K"), "the line is wiped"
    assert shown.count("\x1b[?25l") <= shown.count("\x1b[?25h"), "and the cursor is back"
    assert stream.closed


@pytest.mark.parametrize("variable", ["TERM=dumb", "NO_COLOR=1"])
def test_a_terminal_that_is_to_stay_plain_has_no_bar(
    variable: str, ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*variable.split("="))
    with open(ends[1], "w", encoding="utf-8", closefd=False) as file:
        assert own_stream(file) is None


def test_a_file_is_no_terminal(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (tmp_path_factory.mktemp("log") / "log.txt").open("w", encoding="utf-8") as file:
        assert own_stream(file) is None


@pytest.mark.parametrize(("largest", "words"), [(0.0, ""), (548.0, ", M >= 548"), (float("inf"), ", M not finite")])
def test_a_log_tells_the_running_m_where_there_is_one(largest: float, words: str) -> None:
    log, clock = list[str](), Clock()
    update = Lines(log.append, clock=clock)
    update("measuring", 0, 1000, 0.0)
    clock.now += 1
    update("measuring", 500, 1000, largest)
    assert log == [f"maxact: measured 500 of 1000 tokens (50 %), 500 tokens/s, 0:01 left{words}"]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("name", ["", "step-5"])
def test_a_bar_fits_its_terminal_and_keeps_what_matters_most(
    width: int, name: str, ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    controller, terminal = ends
    set_columns(terminal, width)
    with open(terminal, "w", encoding="utf-8", closefd=False) as file:
        stream = own_stream(file)
    assert stream is not None
    bar = Bar(stream, name, clock := Clock())
    bar("measuring", 0, 70_000, 0.0)
    clock.now += 10
    bar("measuring", 45_000, 70_000, 29440.0)
    bar.close()
    shown = [
        line for line in re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", everything(controller))) if line
    ]
    assert all(cell_len(line) <= width for line in shown)
    last = [line for line in shown if "M >=" in line][-1]
    assert "4 500" in last
    assert "0:06 left, M >= 29440" in last
    assert "…" not in last
    assert ("45 000 of 70 000 tokens" in last) == (width > 100)
