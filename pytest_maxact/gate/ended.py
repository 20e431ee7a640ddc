"""A process that is asked to end, by SIGTERM as runners of CI and batch systems do, ends as one that its user
interrupts: what it was doing is closed, and what it leaves is whole.

Guards that a handler of anybody else stays, that none is left behind, and that a second signal ends it at once.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupted_by_signal(note: Callable[[str], None]) -> Iterator[None]:
    """Around the whole of what the user started, in its own process; `note` is told the name of the signal."""
    here = os.getpid()

    def ended(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != here:  # forked from it, and no run of its own
            signal.raise_signal(number)
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
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
