"""The progress display that suits a pytest run: a bar on a terminal, lines in a log, and from a worker of xdist, which
has no terminal, lines on the standard error that it was given.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from pytest_maxact.report.terminal.progress import Bar, Display, Lines, own_stream

_Uncaptured = Callable[[], AbstractContextManager[None]]


def shown_by(config: pytest.Config, name: str = "") -> Callable[[], Display | None]:
    """How this pytest run shows the measuring of the checkpoint called so."""
    return lambda: showing(config, name)


def showing(config: pytest.Config, name: str = "") -> Display | None:
    """The progress display that suits this pytest run, None for none. `name`: of the checkpoint, where there are
    several.
    """
    if config.get_verbosity() < 0:
        return None
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    uncaptured: _Uncaptured = capture.global_and_fixture_disabled if capture else nullcontext
    if hasattr(config, "workerinput"):
        return Lines(lambda text: _complain(text, uncaptured), name)
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return None
    if reporter.hasmarkup:
        with uncaptured():
            stream = own_stream(reporter._tw._file)
            if stream is not None:
                reporter.ensure_newline()
                reporter.flush()
                return Bar(stream, name)

    def line(text: str) -> None:
        with uncaptured():
            reporter.ensure_newline()
            reporter.write_line(text)

    return Lines(line, name)


def _complain(text: str, uncaptured: _Uncaptured) -> None:
    with uncaptured():
        print(f"\n{text}", end="", file=sys.stderr, flush=True)
