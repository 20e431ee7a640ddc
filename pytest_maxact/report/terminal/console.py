"""Renderables to text: the one place that knows of width, colour and what the terminal can encode."""

import io
from collections.abc import Iterable

from rich.console import Console, Group, RenderableType

from pytest_maxact.errors import Words, neutral, worded

LEAST_WIDTH = 60


def to_text(
    parts: Iterable[RenderableType], *, width: int, color: bool, encoding: str = "utf-8", words: Words = neutral
) -> str:
    """Text of at most `width` columns, 60 at least; characters that `encoding` lacks are `?`; settings in `words`."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=max(width, LEAST_WIDTH),
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(Group(*parts))
    text = worded(stream.getvalue(), words).encode(encoding, "replace").decode(encoding)
    return "\n".join(line.rstrip() for line in text.splitlines())


def is_unicode(encoding: str) -> bool:
    """Whether blocks and bars can be shown."""
    return "utf" in encoding.lower()


def grouped(number: int) -> str:
    """A count with a space between thousands."""
    return f"{number:,}".replace(",", " ")


def short(value: float) -> str:
    """A magnitude in at most seven characters."""
    if value != value or value in (float("inf"), float("-inf")):
        return "NaN/Inf"
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"
