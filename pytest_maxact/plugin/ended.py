"""A pytest run that does not come to its end: asked to end, it is closed by pytest, its files say that it was broken
off, and a runner is told; one of which nobody reads on what it prints says so on the other stream.
"""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from pytest_maxact.gate.ended import interrupted_by_signal

signal_key = pytest.StashKey[str]()
"""The name of the signal that the run was ended by."""


def ends_by_signal(config: pytest.Config) -> AbstractContextManager[None]:
    """Around the whole of a run, in the process that the user started."""

    def note(name: str) -> None:
        config.stash[signal_key] = name

    return interrupted_by_signal(note)


@contextmanager
def told_unread() -> Iterator[None]:
    """Around it too: pytest ends such a run with its exit code for failures, and without a word."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        said = "nobody reads on what this run prints, which is its end; its files say what was checked"
        print(f"maxact: {said}", file=sys.stderr)
        raise
