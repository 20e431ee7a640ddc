"""A run that is asked to end, by SIGTERM as runners of CI and batch systems do, ends as one that its user interrupts:
pytest closes it, its files say that it was broken off, and a runner is told.

Guards that a handler of anybody else stays, that none is left behind, and that a second signal ends the run at once.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

signal_key = pytest.StashKey[str]()
"""The name of the signal that the run was ended by."""


@contextmanager
def interrupted_by_signal(config: pytest.Config) -> Iterator[None]:
    """Around the whole of a run, in the process that the user started."""
    here = os.getpid()

    def ended(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != here:  # forked from it, and no run of its own
            signal.raise_signal(number)
        config.stash[signal_key] = signal.Signals(number).name
        raise KeyboardInterrupt(config.stash[signal_key])

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, ended)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
