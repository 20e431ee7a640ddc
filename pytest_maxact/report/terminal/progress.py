"""Progress of the pass: a bar on a terminal, a line every ten per cent in a log."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

Uncaptured = Callable[[], AbstractContextManager[None]]


class Display(Protocol):
    """Called with tokens done and tokens in all; closed when the pass has ended, however it ended."""

    def __call__(self, done: int, total: int) -> None: ...
    def close(self) -> None: ...


class Lines:
    """A line for every tenth of the tokens."""

    def __init__(self, write: Callable[[str], None], name: str = "") -> None:
        self._write = write
        self._of = f" of {name}" if name else ""
        self._shown = -1

    def __call__(self, done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if tenth > self._shown:
            self._shown = tenth
            self._write(f"maxact: measured {done} of {total} tokens{self._of} ({100 * done // max(total, 1)} %)")

    def close(self) -> None:
        """Nothing to put back."""


class Bar:
    """A rich progress bar, drawn outside pytest's capture."""

    def __init__(self, uncaptured: Uncaptured, name: str = "") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn(f"maxact: measuring {name}".rstrip()),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("tokens"),
            TimeRemainingColumn(),
        )
        self._uncaptured = uncaptured
        self._bar = Progress(*columns, transient=True, auto_refresh=False)
        self._task = self._bar.add_task("measure", total=None)

    def __call__(self, done: int, total: int) -> None:
        with self._uncaptured():
            self._bar.start()
            self._bar.update(self._task, completed=done, total=total, refresh=True)

    def close(self) -> None:
        """Take the bar off the screen and give the cursor back."""
        with self._uncaptured():
            self._bar.stop()
