"""Progress of a measurement, with tokens per second, the time left and the running M: a bar on a terminal, lines in a
log.

The bar has a stream of its own, which pytest's capture does not reach: it is drawn while the pass computes.
"""

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from pytest_maxact.errors import shown
from pytest_maxact.report.terminal.screen import grouped

if TYPE_CHECKING:
    from rich.progress import Task

Clock = Callable[[], float]
_PLAIN = 80
"""Columns of a terminal that does not say how many it has."""
_NAME = 20
"""Columns of a checkpoint's name beside a bar."""
_LEAST_BAR, _GAPS = 4, 2
"""Columns of a bar where there is little room, and those around it."""


class Display(Protocol):
    """Called with what is being done, tokens done, tokens in all, and the largest magnitude so far, 0 where that is not
    known; closed when the measurement has ended, however it ended.
    """

    def __call__(self, what: str, done: int, total: int, largest: float) -> None: ...
    def close(self) -> None: ...


class Pace:
    """How fast something goes, and how long it still takes."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.what = ""
        self._begun = self._told = clock()
        self._done = self._total = 0
        self._largest = 0.0

    def tell(self, what: str, done: int, total: int, largest: float = 0.0) -> bool:
        """Note how far it is; whether something new began."""
        now, begins = self._clock(), what != self.what
        if begins:
            self.what, self._begun = what, now
        self._told, self._done, self._total, self._largest = now, done, total, largest
        return begins

    @property
    def passed(self) -> str:
        """The time that it takes so far."""
        return _time(self._clock() - self._begun)

    @property
    def amount(self) -> str:
        return f"{grouped(self._done)} of {grouped(self._total)} tokens" if self._total else ""

    @property
    def percent(self) -> str:
        return f"{100 * self._done // self._total} %" if self._total else ""

    @property
    def m(self) -> str:
        """The largest magnitude so far: M is that or more."""
        return ("M not finite" if math.isinf(self._largest) else f"M >= {self._largest:.6g}") if self._largest else ""

    @property
    def words(self) -> str:
        """`1 234 tokens/s, 0:42 left`; the time so far where nothing is known yet."""
        took = self._told - self._begun
        if not self._done or took <= 0:
            return self.passed
        speed = self._done / took
        rate = f"{grouped(round(speed)) if speed >= 10 else f'{speed:.2g}'} tokens/s"
        if self._done >= self._total:
            return rate
        left = (self._total - self._done) / speed - (self._clock() - self._told)
        return f"{rate}, {_time(max(left, 0.0))} left"


class Lines:
    """A line for what begins, and for every tenth of the tokens."""

    def __init__(self, write: Callable[[str], None], name: str = "", clock: Clock = time.monotonic) -> None:
        self._write = write
        self._of = f" of {shown(name)}" if name else ""
        self._pace = Pace(clock)
        self._tenth = -1

    def __call__(self, what: str, done: int, total: int, largest: float = 0.0) -> None:
        if self._pace.tell(what, done, total, largest):
            self._tenth = -1
            if not total:
                self._write(f"maxact: {what}{self._of}")
        if total and done and (tenth := 10 * done // total) > self._tenth:
            self._tenth = tenth
            told = ", ".join(filter(None, (self._pace.words, self._pace.m)))
            self._write(f"maxact: measured {done} of {total} tokens{self._of} ({self._pace.percent}), {told}")

    def close(self) -> None:
        """Nothing to put back."""


class Bar:
    """A rich progress bar, gone without a trace when it is closed, and its stream with it."""

    def __init__(self, stream: TextIO, name: str = "", clock: Clock = time.monotonic) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
        from rich.table import Column
        from rich.text import Text

        self._stream, self._pace = stream, Pace(clock)
        self._name = f" {shown(name)}" if 0 < len(name) <= _NAME else ""

        class Told(ProgressColumn):
            """What the pace says at the time of drawing, on one line."""

            max_refresh = None

            def __init__(self, words: Callable[[], str]) -> None:
                super().__init__(Column(no_wrap=True))
                self._words = words

            def render(self, task: "Task") -> Text:
                return Text(self._words())

        console = Console(
            file=stream, force_terminal=True, force_interactive=True, width=_columns(stream), legacy_windows=False
        )
        columns: tuple[Any, ...] = (
            TextColumn("maxact: {task.description}", markup=False),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            Told(self._told),
        )  # fmt: skip
        self._bar = Progress(
            *columns, console=console, transient=True, refresh_per_second=4, expand=True, redirect_stdout=False,
            redirect_stderr=False,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)

    def __call__(self, what: str, done: int, total: int, largest: float = 0.0) -> None:
        self._pace.tell(what, done, total, largest)
        self._bar.update(self._task, description=f"{what}{self._name}", completed=done)
        self._bar.tasks[0].total = total or None
        if not self._bar.live.is_started:
            self._bar.start()
            self._bar.console.show_cursor(True)  # whatever kills the process leaves the terminal as it was
        self._bar.refresh()

    def _told(self) -> str:
        """All that the pace says, or of a narrow terminal what fits beside what is being done."""
        pace = self._pace
        room = self._bar.console.width - len(f"maxact: {pace.what}{self._name}") - _LEAST_BAR - _GAPS
        brief = pace.words.replace(" tokens/s", "/s")
        for amount, rate in ((pace.amount, pace.words), (pace.percent, pace.words), (pace.percent, brief), ("", brief)):
            told = ", ".join(filter(None, (amount, rate, pace.m)))
            if len(told) <= room:
                break
        return told

    def close(self) -> None:
        with suppress(OSError, ValueError):
            self._bar.stop()
        with suppress(OSError, ValueError):
            self._stream.close()


def own_stream(file: Any) -> TextIO | None:
    """A stream to the terminal that a file leads to now, whatever becomes of the file; None where it leads to none."""
    try:
        file.flush()
        if not file.isatty() or os.environ.get("TERM") == "dumb" or os.environ.get("NO_COLOR"):
            return None
        encoding = str(getattr(file, "encoding", None) or "ascii")
        return os.fdopen(os.dup(file.fileno()), "w", encoding=encoding, errors="replace")
    except (OSError, ValueError, AttributeError):
        return None


def _columns(stream: TextIO) -> int:
    with suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or _PLAIN
    return _PLAIN


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
