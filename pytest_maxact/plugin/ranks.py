"""A gate of several processes, as torchrun starts them: rank 0 runs as it would alone, and with it the tests of a
project's own; on the others no session of pytest begins, they take part in what is measured and end with the exit
status of rank 0.

Nothing here is registered in a run of one process.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.settings.option import pytest_option

if TYPE_CHECKING:
    from pytest_maxact.measure.ranks.place import Place
    from pytest_maxact.measure.ranks.team import Team

team_key: "pytest.StashKey[Team]" = pytest.StashKey()


def place() -> "Place | None":
    """The rank of this process. Raises UsageError for one that is none."""
    from pytest_maxact.measure.ranks.place import place_of

    try:
        return place_of()
    except InputError as error:
        raise pytest.UsageError(error.worded(pytest_option)) from error


class Ranks:
    """Registered where there are several. `gates`: whether a run asks for a gate, and does not leave it out."""

    def __init__(self, gates: Callable[[pytest.Config], bool]) -> None:
        self._gates = gates

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int | None:
        """On any rank but 0, in the place of pytest's own session."""
        if hasattr(config, "workerinput") or not self._gates(config):
            return None
        here = place()
        if here is None or here.leads:
            return None
        from pytest_maxact.measure.assist import follow

        try:
            return follow(here)
        except InputError as error:
            raise pytest.UsageError(error.worded(pytest_option)) from error


@contextmanager
def led(config: pytest.Config) -> Iterator[list[int]]:
    """On rank 0, around the run: whoever leads puts its exit status into the list, and the others end with it."""
    here = place()
    if here is None:
        yield []
        return
    _refuse_processes_of_its_own(config)
    from pytest_maxact.measure.ranks.team import open_team

    try:
        team = config.stash[team_key] = open_team(here)
    except InputError as error:
        raise pytest.UsageError(error.worded(pytest_option)) from error
    ended: list[int] = []
    status = int(pytest.ExitCode.INTERNAL_ERROR)
    try:
        yield ended
        status = ended[-1] if ended else status
    except pytest.UsageError:
        status = int(pytest.ExitCode.USAGE_ERROR)
        raise
    finally:
        team.finish(status)


def heading(config: pytest.Config) -> str:
    """That there are several ranks; empty where there are not."""
    if team_key not in config.stash:
        return ""
    here = config.stash[team_key].place
    return f"{here.size} ranks share what is measured; tests of your own run on rank 0 alone, which reports"


def _refuse_processes_of_its_own(config: pytest.Config) -> None:
    for option, is_asked in (
        ("-n", getattr(config.option, "dist", "no") != "no"),
        ("--forked", bool(getattr(config.option, "forked", False))),
        ("--maxact-trust-remote-code", bool(config.getoption("maxact_trust_remote_code", None))),
    ):
        if is_asked:
            raise pytest.UsageError(
                f"{option} starts processes of its own, which are no ranks of this run\n"
                "  leave it out, or run without torchrun"
            )
