"""Lines and tables to text: the one place that knows of width, colour, what the terminal can encode, how the door that
the report leaves by words its settings, and that no name in it is obeyed by a terminal.
"""

import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table
from rich.text import Text as RichText

from pytest_maxact.errors import Words, brief, neutral, own_lines, printable, shown, uncommanded

LEAST_WIDTH = 60
PROSE = 120
"""Columns of a line of text at most: longer ones are hard to read, however wide a terminal is."""
MORE = "-v"
"""How more is asked for, of pytest and of `maxact`."""
_GROUPS, _HELD = re.compile(r"(?<=\d) (?=\d{3}(?!\d))"), "\uf8ff"
"""The space between thousands, at which no line is broken, and what stands in its place until lines are."""
_LEFT_OUT = {code: shown(chr(code)) for code in (7, 8, 11, 12, 13)}
_FIGURE = 7
_LEAST_FOLDED = 20
"""Columns that are wanted for cells that may be folded."""
_LEAST_NAME, _LEAST_GIVEN = 8, 4
"""Columns that are left to cells of a table that is too wide: to those that may be folded anyway, and to others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """Where a report is shown: its columns, whether it has colours, what it can encode, how a setting is typed there,
    and whether `whole` is asked for: every site, and every breach in words.
    """

    width: int = 80
    color: bool = False
    encoding: str = "utf-8"
    words: Words = neutral
    whole: bool = False

    @property
    def has_blocks(self) -> bool:
        """Whether blocks and bars can be shown."""
        return "utf" in self.encoding.lower()


class Text(RichText):
    """A line, or a part of one. What rings, erases or goes back, rich would leave out of a name: here it is spelled
    out, as all else is that is not printable.
    """

    def __init__(self, text: str = "", *args: Any, **kwargs: Any) -> None:
        super().__init__(text.translate(_LEFT_OUT), *args, **kwargs)

    def append(self, text: RichText | str, style: Any = None) -> RichText:
        return super().append(text.translate(_LEFT_OUT) if isinstance(text, str) else text, style)

    @classmethod
    def assemble(cls, *parts: Any, **kwargs: Any) -> "Text":
        return cast("Text", super().assemble(*parts, **kwargs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a grid: on one line, or folded where it is too long; `right`: figures."""

    name: str = ""
    right: bool = False
    fold: bool = False
    style: str = ""
    width: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table without rules: rows of cells, `gap` blanks between columns, a header where columns have names."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Text]]
    gap: int = 1
    title: str = ""


class Message(Text):
    """What was raised, or is warned of: lines of our own after the first begin with two blanks. Any other text is one
    line. Whatever stands in it, no name begins a line.
    """


Part = Text | Grid
"""A line, or a table."""


_ANY_HEIGHT = 25
"""Nothing hangs on it; without one rich takes a dumb terminal for 80 columns wide, whatever it is told."""


def to_text(parts: Iterable[Part], screen: Screen) -> str:
    """Text of at most `screen.width` columns, 60 at least; characters that its encoding lacks are `?`."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=max(screen.width, LEAST_WIDTH),
        height=_ANY_HEIGHT,
        force_terminal=screen.color,
        no_color=not screen.color,
        color_system="standard" if screen.color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(Group(*(_drawn(part, screen, console.width) for part in parts)))
    text = stream.getvalue().replace(_HELD, " ").encode(screen.encoding, "replace").decode(screen.encoding)
    return "\n".join(piece for line in text.splitlines() for piece in _uncommanded(line.rstrip(), console.width))


def _uncommanded(line: str, width: int) -> Sequence[str]:
    """A line that no CI system obeys, in two where that makes it too wide."""
    told = uncommanded(line)
    return (told,) if told == line or cell_len(told) <= width else (told[:-1], told[-1:])


def _drawn(part: Part, screen: Screen, width: int) -> RenderableType:
    words, prose = screen.words, min(width, PROSE)
    if isinstance(part, Text):
        return Constrain(_worded(part, screen), prose)
    squeezed = width_of(part, screen) > width
    widths = _squeezed(part, width, screen) if squeezed else [column.width for column in part.columns]
    table = Table(
        box=None,
        padding=(0, part.gap, 0, 0),
        pad_edge=False,
        header_style="bold",
        show_header=any(column.name for column in part.columns),
        title=printable(part.title, words) or None,
        title_justify="left",
    )
    for place, column in enumerate(part.columns):
        table.add_column(
            printable(column.name, words),
            justify="right" if column.right else "left",
            overflow="fold" if column.fold or squeezed else "ellipsis",
            no_wrap=not (column.fold or squeezed),
            style=column.style,
            width=widths[place],
            max_width=prose if column.fold else None,
        )
    for row in part.rows:
        table.add_row(*(_cell(cell, screen) for cell in row))
    return table


def width_of(grid: Grid, screen: Screen) -> int:
    """Columns that a table takes where no cell is broken, those aside that may be."""
    widest = [_widest(grid, place, screen) for place in range(len(grid.columns))]
    widths = (
        min(_LEAST_FOLDED, own) if column.fold else column.width or own
        for column, own in zip(grid.columns, widest, strict=True)
    )
    return sum(widths) + grid.gap * (len(grid.columns) - 1)


def _squeezed(grid: Grid, width: int, screen: Screen) -> list[int]:
    """The columns of each column of a table that is too wide: figures and names stay on their lines, under heads that
    are broken between words; what is left is for the others, of which those give way first that may be folded.
    """
    widths = [_widest(grid, place, screen, narrow=True) for place in range(len(grid.columns))]
    folded = [place for place, column in enumerate(grid.columns) if column.fold]
    others = [place for place, column in enumerate(grid.columns) if not column.right and place not in (0, *folded)]
    while sum(widths) + grid.gap * (len(widths) - 1) > width:
        giving = [place for place in folded if widths[place] > _LEAST_NAME]
        giving = giving or [place for place in others if widths[place] > _LEAST_GIVEN] or list(range(len(widths)))
        widths[max(giving, key=lambda place: widths[place])] -= 1
    return widths


def _widest(grid: Grid, place: int, screen: Screen, narrow: bool = False) -> int:
    """Of a column, with its name; `narrow`: that on several lines."""
    name = printable(grid.columns[place].name, screen.words)
    heads = name.split() if narrow else [name]
    return max(
        [*map(cell_len, heads), *(_cell(row[place], screen).cell_len for row in grid.rows if place < len(row)), 1]
    )


def _cell(cell: str | Text, screen: Screen) -> RichText:
    return Text(_as_shown(shown(cell), screen)) if isinstance(cell, str) else _worded(cell, screen)


def _as_shown(text: str, screen: Screen) -> str:
    """Worded, of characters that the screen has, and of what is longer than any name needs to be both ends."""
    text = printable(text, screen.words).encode(screen.encoding, "replace").decode(screen.encoding)
    return _GROUPS.sub(_HELD, brief(text))


def _worded(text: Text, screen: Screen) -> RichText:
    """The same text and styles, settings in words; on one line, unless it is a message."""
    lines = own_lines if isinstance(text, Message) else shown
    ends = sorted({end for span in text.spans for end in (span.start, span.end)} - {0, len(text)})
    found = Text(style=text.style, no_wrap=text.no_wrap, overflow=text.overflow)
    for piece in text.divide(ends):
        start = len(found)
        found.append(_as_shown(lines(piece.plain), screen))
        for span in piece.spans:
            found.stylize(span.style, start, len(found))
    return found


def grouped(number: int) -> str:
    """A count with a space between thousands."""
    return f"{number:,}".replace(",", " ")


def short(value: float) -> str:
    """A magnitude in at most seven characters: four digits of it, or as many as fit."""
    if not math.isfinite(value):
        return "NaN/Inf"
    text = f"{value:.0f}" if value >= 1000 else f"{value:.4g}"
    for digits in (3, 2, 1):
        if len(text) > _FIGURE:
            text = f"{value:.{digits}g}"
    return text
