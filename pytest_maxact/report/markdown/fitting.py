"""Parts of a page, and the bytes that it may have, in; the page out, rows that do not fit counted in words.

Guards that what is fixed is always there, and that nothing is left out unsaid.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_maxact.numbers.counted import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Lines that are always there, then rows of which the first are; `what` a row is, in the singular, where some are
    left out.
    """

    fixed: Sequence[str] = ()
    rows: Sequence[str] = ()
    what: str = ""

    def left_out(self, rows: int) -> list[str]:
        return ["", f"... and {counted(rows, f'more {self.what}')}, for which there is no room here"] if rows else []


def fitted(parts: Iterable[Part], most: int) -> str:
    """The parts one below the other, with a blank line between. Rows of earlier parts go before those of later."""
    given = [part for part in parts if part.fixed or part.rows]
    room = most - sum(_size([*part.fixed, *part.left_out(len(part.rows)), ""]) for part in given)
    lines = list[str]()
    for part in given:
        shown = 0
        for text in part.rows:
            if (room := room - _size([text])) < 0:
                break
            shown += 1
        room = max(room, 0) if shown == len(part.rows) else 0
        lines += [*part.fixed, *part.rows[:shown], *part.left_out(len(part.rows) - shown), ""]
    return "\n".join(lines)


def _size(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)
