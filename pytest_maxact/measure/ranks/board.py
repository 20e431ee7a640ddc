"""What the ranks of a run tell each other, beside the tensors: words under names, said once and heard by all. Nobody
waits in it: who waits asks again, and looks meanwhile at whether the others still live.
"""

from datetime import timedelta
from typing import Protocol

_PREFIX = "pytest-maxact"
JOINING = 300.0
"""Seconds in which every rank has to be there."""


class Store(Protocol):
    """What of a store of torch.distributed is used."""

    def set(self, key: str, value: str) -> None: ...
    def get(self, key: str) -> bytes: ...
    def check(self, keys: list[str]) -> bool: ...


class Board:
    """Words under names. Raises ConnectionError where those who keep it are gone."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def say(self, name: str, words: str = "") -> None:
        try:
            self._store.set(f"{_PREFIX}/{name}", words)
        except RuntimeError as error:
            raise ConnectionError(str(error)) from error

    def heard(self, name: str) -> str | None:
        """What was said under a name; None for nothing yet."""
        try:
            if not self._store.check([f"{_PREFIX}/{name}"]):
                return None
            return self._store.get(f"{_PREFIX}/{name}").decode()
        except RuntimeError as error:
            raise ConnectionError(str(error)) from error


def store_of_the_run() -> Store:
    """A connection of its own to the store that the launcher keeps, or else rank 0. Raises ConnectionError."""
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    if not dist.is_available():
        raise ConnectionError("torch was built without torch.distributed")
    try:
        store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=JOINING)))
    except (RuntimeError, ValueError) as error:
        raise ConnectionError(str(error)) from error
    found: Store = store
    return found
