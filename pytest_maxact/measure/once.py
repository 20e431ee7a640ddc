"""What several processes need and one makes: the one protocol of locks, that of the cache and of the folder where the
workers of a run meet. No torch.

Under a lock of its own it is looked for, and where it is not there made and put in place; a failure is told. A process
that is killed leaves its lock to the next.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

Made = TypeVar("Made")


def locked(path: Path) -> AbstractContextManager[object]:
    """The lock at `path`, taken; waits for whoever holds it. Raises OSError where it cannot be."""
    from filelock import FileLock

    return FileLock(path).acquire()


def once(
    lock: AbstractContextManager[object],
    *,
    look: Callable[[], Made | None],
    make: Callable[[], Made],
    put: Callable[[Made], object],
    tell: Callable[[BaseException], object] = lambda error: None,
) -> Made:
    """What `look` finds, else what `make` gives and `put` puts in place, whole, for the others.

    Whatever else than a value comes of making or putting, an interrupt included, goes to `tell` and on.
    """
    with lock:
        found = look()
        if found is not None:
            return found
        try:
            made = make()
            put(made)
        except BaseException as error:
            tell(error)
            raise
        return made
