"""What broke a check off, a timeout or memory that ran out, in a few lines: an exception from deep inside libraries in,
its innermost frames and what else there is to know out. `--full-trace` shows all.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest._code.code import ExceptionChainRepr, ReprExceptionInfo, Traceback

_FRAMES = 3
_LINES = 12
"""Of what the exception says."""


def innermost(excinfo: pytest.ExceptionInfo[BaseException]) -> "ReprExceptionInfo | ExceptionChainRepr":
    """As pytest shows a failure in short, cut to the last frames that nobody hides."""
    shown = excinfo.getrepr(style="short", tbfilter=_last, chain=False)
    for entry in shown.reprtraceback.reprentries:
        if (more := len(entry.lines) - _LINES) > 1:
            entry.lines = [*entry.lines[:_LINES], f"E   ... and {more} lines more"]
    shown.addsection(
        "maxact",
        f"the first check carries the measurement; {_FRAMES} of its {len(excinfo.traceback)} frames are shown, with"
        " --full-trace all",
    )
    return shown


def _last(excinfo: pytest.ExceptionInfo[BaseException]) -> "Traceback":
    return (excinfo.traceback.filter(excinfo) or excinfo.traceback)[-_FRAMES:]
