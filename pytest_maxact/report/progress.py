"""Progress of the pass: a bar on a terminal, a line every ten per cent in a log, nothing from an xdist worker."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

Progress = Callable[[int, int], None]


def showing(config: pytest.Config) -> Progress | None:
    """The progress display that suits this pytest run, None for none."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if hasattr(config, "workerinput") or reporter is None or config.get_verbosity() < 0:
        return None
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    uncaptured = capture.global_and_fixture_disabled if capture else nullcontext
    if reporter.isatty:
        return _bar(uncaptured)

    def line(text: str) -> None:
        with uncaptured():
            reporter.ensure_newline()
            reporter.write_line(text)

    return lines(line)


def lines(write: Callable[[str], None]) -> Progress:
    """A line for every tenth of the tokens."""
    shown = -1

    def update(done: int, total: int) -> None:
        nonlocal shown
        tenth = 10 * done // max(total, 1)
        if tenth > shown:
            shown = tenth
            write(f"maxact: measured {done} of {total} tokens ({10 * tenth} %)")

    return update


def _bar(uncaptured: Callable[[], AbstractContextManager[None]]) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("maxact: measuring"), BarColumn(), MofNCompleteColumn(), TextColumn("tokens"), TimeRemainingColumn())
    bar = RichProgress(*columns, transient=True, auto_refresh=False)
    task = bar.add_task("measure", total=None)

    def update(done: int, total: int) -> None:
        with uncaptured():
            if not bar.live.is_started:
                bar.start()
            bar.update(task, completed=done, total=total, refresh=True)
            if done >= total:
                bar.stop()

    return update
