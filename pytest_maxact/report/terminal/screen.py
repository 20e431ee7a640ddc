"""Lines and tables to text: the one place that knows of width, colour, what the terminal can encode, how the door that
the report leaves by words its settings, and that no name in it is obeyed by a terminal.
"""

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pytest_maxact.errors import Words, neutral, printable, shown, uncommanded

LEAST_WIDTH = 60
_FIGURE = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """Where a report is shown: its columns, whether it has colours, what it can encode, and how a setting is typed
    there.
    """

    width: int = 80
    color: bool = False
    encoding: str = "utf-8"
    words: Words = neutral

    @property
    def has_blocks(self) -> bool:
        """Whether blocks and bars can be shown."""
        return "utf" in self.encoding.lower()


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


Part = Text | Grid
"""A line, or a table."""


def to_text(parts: Iterable[Part], screen: Screen) -> str:
    """Text of at most `screen.width` columns, 60 at least; characters that its encoding lacks are `?`."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=max(screen.width, LEAST_WIDTH),
        force_terminal=screen.color,
        no_color=not screen.color,
        color_system="standard" if screen.color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(Group(*(_drawn(part, screen.words) for part in parts)))
    text = stream.getvalue().encode(screen.encoding, "replace").decode(screen.encoding)
    return "\n".join(uncommanded(line.rstrip()) for line in text.splitlines())


def _drawn(part: Part, words: Words) -> RenderableType:
    if isinstance(part, Text):
        return _worded(part, words)
    table = Table(
        box=None,
        padding=(0, part.gap, 0, 0),
        pad_edge=False,
        header_style="bold",
        show_header=any(column.name for column in part.columns),
        title=printable(part.title, words) or None,
        title_justify="left",
    )
    for column in part.columns:
        table.add_column(
            printable(column.name, words),
            justify="right" if column.right else "left",
            overflow="fold" if column.fold else "ellipsis",
            no_wrap=not column.fold,
            style=column.style,
            width=column.width,
        )
    for row in part.rows:
        table.add_row(
            *(printable(shown(cell), words) if isinstance(cell, str) else _worded(cell, words) for cell in row)
        )
    return table


def _worded(text: Text, words: Words) -> Text:
    """The same text and styles, settings in words."""
    ends = sorted({end for span in text.spans for end in (span.start, span.end)} - {0, len(text)})
    found = Text(style=text.style)
    for piece in text.divide(ends):
        start = len(found)
        found.append(printable(piece.plain, words))
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
