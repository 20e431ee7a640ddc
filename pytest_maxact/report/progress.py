"""Progress of the pass: a bar on a terminal, a line every ten per cent in a log, nothing from an xdist worker."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import pytest

Uncaptured = Callable[[], AbstractContextManager[None]]


class Display(Protocol):
    """Called with tokens done and tokens in all; closed when the pass has ended, however it ended."""

    def __call__(self, done: int, total: int) -> None: ...
    def close(self) -> None: ...


def shown_by(config: pytest.Config, name: str = "") -> Callable[[], Display | None]:
    """How this pytest run shows the measuring of the checkpoint called so."""
    return lambda: showing(config, name)


def showing(config: pytest.Config, name: str = "") -> Display | None:
    """The progress display that suits this pytest run, None for none. `name`: of the checkpoint, where there are
    several.
    """
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if hasattr(config, "workerinput") or reporter is None or config.get_verbosity() < 0:
        return None
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    uncaptured: Uncaptured = capture.global_and_fixture_disabled if capture else nullcontext
    if reporter.isatty:
        return Bar(uncaptured, name)

    def line(text: str) -> None:
        with uncaptured():
            reporter.ensure_newline()
            reporter.write_line(text)

    return Lines(line, name)


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
