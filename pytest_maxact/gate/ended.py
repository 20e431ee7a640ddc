"""A process that is asked to end, by SIGTERM as runners of CI and batch systems do, ends as one that its user
interrupts: what it was doing is closed, and what it leaves is whole.

Guards that a handler of anybody else stays, that none is left behind where nothing came, and that a signal which comes
again later ends it at once. One that comes again right away is the same request: `timeout` sends it to its child, and
to the group that this is in.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SAME = 1.0
"""Seconds in which a signal is the same request as the one before."""


@contextmanager
def interrupted_by_signal(note: Callable[[str], None]) -> Iterator[None]:
    """Around the whole of what the user started, in its own process; `note` is told the name of the signal."""
    here, asked = os.getpid(), list[float]()

    def ended(number: int, frame: FrameType | None) -> None:
        if os.getpid() == here and asked and time.monotonic() - asked[0] < _SAME:
            return
        if os.getpid() != here or asked:  # forked from it, and no run of its own; or asked once more
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        asked.append(time.monotonic())
        name = signal.Signals(number).name
        note(name)
        raise KeyboardInterrupt(name)

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, ended)
    try:
        yield
    finally:
        if not asked:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
