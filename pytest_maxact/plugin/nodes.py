"""What every node of the gate is to pytest, and to the plugins, conftests and editors around it.

Guards that nothing outside of the gate turns it green, a conftest that skips whatever it does not know, and that what
other people's code reads of any item is there to be read.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy
import pytest
from _pytest.fixtures import FuncFixtureInfo, TopRequest

from pytest_maxact.errors import MaxactError, first_line, marked, worded
from pytest_maxact.gate.ledger import Found
from pytest_maxact.plugin.fixtures import session_key
from pytest_maxact.plugin.innermost import innermost
from pytest_maxact.settings.option import pytest_option

if TYPE_CHECKING:
    from _pytest._code.code import TerminalRepr
    from _pytest.nodes import Node

_UNHEARD = ("skip", "skipif", "xfail")


class GateNode(pytest.Collector):
    """A node above checks. Its path is a file, which may lie anywhere; its hooks are those of the project."""

    @property
    def ihook(self) -> pluggy.HookRelay:
        return self.session.gethookproxy(self.config.rootpath)


class GateItem(pytest.Item):
    """An item of the gate: marked `maxact`, deaf to `skip`, `skipif` and `xfail`, on whatever node they stand.

    It takes no fixtures, those that are used everywhere neither. Others find of it what they find of a test function:
    `obj` is one, which judges when it is called; wrapping it changes nothing.
    """

    cls: None = None
    instance: None = None

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.add_marker("maxact")
        self.originalname = self.name
        self.obj = self.function = _function_of(self)
        self._fixtureinfo = FuncFixtureInfo(argnames=(), initialnames=(), names_closure=[], name2fixturedefs={})
        self.fixturenames = self._fixtureinfo.names_closure
        self._initrequest()

    def _initrequest(self) -> None:
        """Before every attempt; pytest and plugins that run an item again call it."""
        self.funcargs: dict[str, object] = {}
        self._request = TopRequest(self, _ispytest=True)  # type: ignore[arg-type]

    @property
    def module(self) -> ModuleType:
        return sys.modules[type(self).__module__]

    @property
    def ihook(self) -> pluggy.HookRelay:
        return self.session.gethookproxy(self.config.rootpath)

    def iter_markers_with_node(self, name: str | None = None) -> Iterator[tuple["Node", pytest.Mark]]:
        return (found for found in super().iter_markers_with_node(name) if found[1].name not in _UNHEARD)

    def note(self, found: Found, words: str = "") -> None:
        try:
            self.config.stash[session_key].ledger.note(self.nodeid, found, words)
        except MaxactError as error:
            raise _failure(error) from None

    def _repr_failure_py(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> "TerminalRepr":
        """Of a failure in setup, too: the innermost frames, for the check that measures stands deep in libraries; of
        what a waiver lets pass its words alone.
        """
        if isinstance(excinfo.value, pytest.xfail.Exception):
            return super()._repr_failure_py(excinfo, "value")
        short = isinstance(excinfo.value, pytest.fail.Exception) and not excinfo.value.pytrace
        if short or self.config.getoption("fulltrace", False):
            return super()._repr_failure_py(excinfo, style)
        return innermost(excinfo)

    @contextmanager
    def noting_failure(self, what: str = "") -> Iterator[None]:
        """What is raised of a check that cannot be judged is written down; what was raised on purpose is the failure of
        the item.
        """
        try:
            yield
        except MaxactError as error:
            self.note(Found.UNKNOWN, f"{what}{marked(error)}")
            raise _failure(error, what) from None
        except BaseException as error:
            self.note(Found.UNKNOWN, f"{type(error).__name__}: {first_line(error)}")
            raise


def _function_of(item: pytest.Item) -> Callable[[], None]:
    def check() -> None:
        item.runtest()

    check.__name__ = check.__qualname__ = item.name
    check.__doc__ = item.reportinfo()[2]
    return check


def _failure(error: MaxactError, what: str = "") -> BaseException:
    """The failure of a check that could not be judged, in a line: the end of the report tells the cause in full."""
    return pytest.fail.Exception(f"{what}{worded(first_line(error), pytest_option)}", pytrace=False)
