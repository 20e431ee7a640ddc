"""A report of the gate's own as pytest shows it: whatever names of others stand in it, in a message, a traceback or
what was captured, no line of it is obeyed by a terminal or a CI system.
"""

from typing import TYPE_CHECKING, Any

from pytest_maxact.errors import one_line, worded
from pytest_maxact.settings.option import pytest_option

if TYPE_CHECKING:
    import pytest


def make_harmless(report: "pytest.TestReport") -> None:
    """Before anyone shows it. What is told of the check as data stays as it is."""
    report.longrepr = _text_of(report.longrepr)
    report.sections = [(one_line(title), _text_of(content)) for title, content in report.sections]
    if hasattr(report, "wasxfail"):
        report.wasxfail = one_line(str(report.wasxfail))
    file, line, what = report.location
    report.location = file, line, one_line(what)


def _text_of(value: Any) -> Any:
    """A text, texts, or one of pytest's own forms of an exception, which holds texts."""
    from _pytest._code.code import TerminalRepr

    if isinstance(value, str):
        return worded(value, pytest_option)
    if isinstance(value, (list, tuple)):
        return type(value)(map(_text_of, value))
    if isinstance(value, TerminalRepr):
        for name, held in vars(value).items():
            setattr(value, name, _text_of(held))
    return value
