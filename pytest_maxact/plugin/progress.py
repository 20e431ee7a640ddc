"""The progress display that suits a pytest run: nothing from an xdist worker."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from pytest_maxact.report.terminal.progress import Bar, Display, Lines, Uncaptured


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
