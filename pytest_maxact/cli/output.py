"""What commands print: text for the terminal they stand in, or JSON; settings as the command takes them."""

import json
import math
import os
import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_maxact.cli.words import argument
from pytest_maxact.errors import named, uncommanded_json

if TYPE_CHECKING:
    from pytest_maxact.report.terminal.progress import Display
    from pytest_maxact.report.terminal.screen import Screen


def screen(whole: bool = False) -> "Screen":
    """The terminal that standard output leads to; `whole`: it is to show all there is."""
    from pytest_maxact.report.terminal.screen import Screen

    encoding = sys.stdout.encoding or "ascii"
    width = shutil.get_terminal_size().columns
    return Screen(width=width, color=_has_colors(), encoding=encoding, words=argument, whole=whole)


def _has_colors() -> bool:
    """As pytest decides it: NO_COLOR comes before FORCE_COLOR, which is for logs that show them."""
    if os.environ.get("NO_COLOR") or os.environ.get("FORCE_COLOR"):
        return not os.environ.get("NO_COLOR")
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def display() -> "Display":
    """How a measurement shows its progress, on standard error: what is measured goes to standard output."""
    from pytest_maxact.report.terminal.progress import Bar, Lines, own_stream

    stream = own_stream(sys.stderr)
    return Bar(stream) if stream else Lines(lambda text: print(text, file=sys.stderr))


def print_json(data: object) -> None:
    print(uncommanded_json(json.dumps(_worded(data), indent=2, allow_nan=False)))


def _worded(data: Any) -> Any:
    if isinstance(data, str):
        return named(data, argument)
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, Mapping):
        return {name: _worded(value) for name, value in data.items()}
    return [_worded(value) for value in data] if isinstance(data, (list, tuple)) else data
