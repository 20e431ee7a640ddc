"""What an option is, whichever door it comes in by."""

from collections.abc import Callable
from typing import Any, NamedTuple

PREFIX = "maxact"
"""Of everything that pytest shares with other plugins: options and ini keys."""


def pytest_option(field: str) -> str:
    """A setting as pytest's command line has it."""
    return f"--{PREFIX}-{field.replace('_', '-')}"


class Option(NamedTuple):
    """One option: of pytest, with a prefix; of the command `--<name>`; in an ini file `ini`. Its help names others by
    marks. A named tuple, which is made in a tenth of the time of a dataclass, at every start of pytest.
    """

    name: str
    help: str
    metavar: str | None = None
    parse: Callable[[str], Any] = str
    measures: bool = True
    """Whether it shapes the measurement (and so means nothing for a Record that is already measured)."""
    is_path: bool = False
    repeatable: bool = False
    """Whether it may be given several times; in an ini file its values stand in lines."""

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")

    @property
    def ini(self) -> str:
        return f"{PREFIX}_{self.field}"

    @property
    def is_flag(self) -> bool:
        return self.metavar is None
