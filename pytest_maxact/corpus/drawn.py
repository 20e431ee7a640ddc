"""Numbers drawn the same on every machine and in every version of every library: a seed and what is drawn for in, whole
numbers and orders out.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

Given = TypeVar("Given")
_BYTES = 8


class Draw:
    """A stream of numbers that its seed and its name decide."""

    def __init__(self, seed: int, name: str) -> None:
        self._seed = f"{seed}\0{name}"
        self._block = 0
        self._left: list[int] = []

    def below(self, bound: int) -> int:
        """A whole number from 0 to one below `bound`."""
        if not self._left:
            digest = hashlib.sha512(f"{self._seed}\0{self._block}".encode()).digest()
            self._block += 1
            self._left = [
                int.from_bytes(digest[at : at + _BYTES], "big") for at in range(0, len(digest), _BYTES)
            ]  # fmt: skip
        return self._left.pop() * bound >> (8 * _BYTES)

    def one(self, among: Sequence[Given]) -> Given:
        """One of several, each as likely."""
        return among[self.below(len(among))]

    def some(self, among: Sequence[Given], count: int) -> list[Given]:
        """So many of several, each time one of all."""
        return [self.one(among) for _ in range(count)]

    def order(self, among: Sequence[Given]) -> list[Given]:
        """All of them in an order that is drawn."""
        found = list(among)
        for last in range(len(found) - 1, 0, -1):
            other = self.below(last + 1)
            found[last], found[other] = found[other], found[last]
        return found
