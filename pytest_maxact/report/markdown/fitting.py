"""Parts of a page, and the bytes that it may have, in; the page out, rows that do not fit counted in words.

Guards that what is fixed is always there, that no part is crowded out by those before it, and that nothing is left out
unsaid.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile

from pytest_maxact.numbers.counted import counted

_FIRST = 3
"""Rows of a part that come before any more of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Lines that are always there, then rows of which the first are; `what` a row is, in the singular, where some are
    left out, and `which`, as of one and of several.
    """

    fixed: Sequence[str] = ()
    rows: Sequence[str] = ()
    what: str = ""
    which: tuple[str, str] = ("", "")

    def left_out(self, rows: int) -> list[str]:
        many = counted(rows, f"more {self.what}", *self.which)
        return ["", f"... and {many}, for which there is no room here"] if rows else []


def fitted(parts: Iterable[Part], most: int) -> str:
    """The parts one below the other, with a blank line between. The first rows of every part go before more of any, and
    of those the rows of earlier parts before those of later.
    """
    given = [part for part in parts if part.fixed or part.rows]
    room = most - sum(_size([*part.fixed, *part.left_out(len(part.rows)), ""]) for part in given)
    shown = [0] * len(given)
    for place, part in enumerate(given):
        shown[place] = _fitting(part.rows[:_FIRST], room)
        room -= _size(part.rows[: shown[place]])
    for place, part in enumerate(given):
        first = shown[place]
        shown[place] += _fitting(part.rows[first:], room)
        room = room - _size(part.rows[first : shown[place]]) if shown[place] == len(part.rows) else 0
    lines = list[str]()
    for part, rows in zip(given, shown, strict=True):
        lines += [*part.fixed, *part.rows[:rows], *part.left_out(len(part.rows) - rows), ""]
    return "\n".join(lines)


def _fitting(rows: Sequence[str], room: int) -> int:
    """How many of the rows have room."""
    sizes = accumulate(_size([text]) for text in rows)
    return sum(1 for _ in takewhile(lambda size: size <= room, sizes))


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)
