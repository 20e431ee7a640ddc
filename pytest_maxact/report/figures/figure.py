"""One figure, as plain data: what a page embeds, and what is drawn to a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`name` is file name and anchor, `title` the question it answers, `caption` how to read it, `alternative` what it
    shows, with its numbers, for those who do not see it. `spec`: Vega-Lite, with all data in it, no background and no
    colours of a theme (`theme.py` has those), as wide as what holds it. `rows`: the data, flat, for a table or a file;
    a figure that is not finite is None there, and `shown` says what it is.
    """

    name: str
    title: str
    caption: str
    alternative: str
    spec: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A figure that is not drawn: its name, the question, and why there is no answer."""

    name: str
    title: str
    reason: str
