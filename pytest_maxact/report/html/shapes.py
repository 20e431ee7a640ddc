"""What a page is made of, as plain data: cells, tables, breaches, figures. The template lays them out and decides
nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """`sort`: the number that it is sorted by where its text does not begin with it, NaN for one that has none.

    `state` is "bad", "warn", "good" or "", and its text says the same in words; `bar`: a share of 1 to be drawn;
    `href`: the row that it speaks of.
    """

    text: str
    sort: float | None = None
    state: str = ""
    bar: float | None = None
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A column: its name, what its figures are, and whether they are figures. `whole`: names, of which none that is
    short is broken into two lines.
    """

    name: str
    means: str = ""
    right: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The first of its cells names it; `anchor`: what a link leads to, empty where none does."""

    cells: tuple[Cell, ...]
    anchor: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`name` is its anchor and the name of its file; `is_open`: whether it is shown before it is asked for."""

    name: str
    title: str
    caption: str
    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    is_open: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A label and what there is to say, a line each; `state` as of a cell."""

    label: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an entry sat: its value, sample and position, the token that it stands at with the text `before` and
    `after`, both empty where that is not known, its channel in words.
    """

    what: str
    value: str
    sample: str
    position: str
    token: str
    channel: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What a site, a metric or a scheme is, what a breach of it means, and pairs of a cause and what to do; `again`:
    whether it stands further up already, and need not be printed twice.
    """

    name: str
    again: bool
    what: str
    breach: str
    todo: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """The worst of checks that fail alike: `title` names it, `others` are the rest. `href`: the row of its site."""

    title: str
    check: str
    value: str
    relation: str
    bound: str
    interval: str
    meaning: str
    used: str
    written: str
    file: str
    rule: str
    source: str
    message: str
    href: str
    place: Place | None
    advice: tuple[Advice, ...]
    others: Table | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure: its texts, its spec and the data behind it, both as JSON that may stand in a page."""

    name: str
    title: str
    caption: str
    alternative: str
    spec: str
    rows: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One checkpoint or all of them: facts and tables under a heading."""

    name: str
    title: str
    facts: tuple[Fact, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All of it, from the top. `state` is "bad", "warn", "good" or "none"; `word` says it; `drawn`: the checkpoint of a
    series that the figures are of, empty where there is one.
    """

    title: str
    subject: str
    state: str
    word: str
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]
    faults: tuple[str, ...]
    breaches: tuple[Breach, ...]
    waived: Table | None
    close: Table | None
    tiles: tuple[Fact, ...]
    series: Table | None
    figures: tuple[Drawing, ...]
    drawn: str
    sections: tuple[Section, ...]
    provenance: tuple[Section, ...]
    unjudged: Table | None
