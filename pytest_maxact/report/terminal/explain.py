"""What explains a name, for a person: entries in, text out; or a list of all that can be explained."""

from collections.abc import Iterable, Iterator, Sequence

from pytest_maxact.judge.explain.entry import GROUPS, Entry
from pytest_maxact.report.terminal.screen import Column, Grid, Part, Screen, Text, to_text

_LABEL = Column(style="bold", fold=True, width=12)


def render_entries(entries: Sequence[Entry], screen: Screen) -> str:
    """As text of at most `screen.width` columns."""
    return to_text(_several(entries), screen)


def render_list(entries: Iterable[Entry], screen: Screen) -> str:
    """Every name with its first sentence, group by group."""
    return to_text(_list(list(entries)), screen)


def _several(entries: Sequence[Entry]) -> Iterator[Part]:
    for index, entry in enumerate(entries):
        if index:
            yield Text()
        yield Text(f"{entry.name} ({entry.group})", style="bold")
        rows = [
            ("what", entry.what),
            ("unit", entry.unit),
            ("measured", entry.measured),
            ("a breach", entry.breach),
        ]
        yield Grid(columns=(_LABEL, Column(fold=True)), rows=rows, gap=2)
    yield Text()
    yield Text("what to do", style="bold")
    rows = [(f"- {cause}:", do) for entry in entries for cause, do in entry.todo]
    yield Grid(columns=(Column(), Column(fold=True)), rows=rows, gap=1)


def _list(entries: Sequence[Entry]) -> Iterator[Part]:
    widest = max(len(entry.name) for entry in entries)
    for group, title in GROUPS.items():
        yield Text(title, style="bold")
        rows = [(entry.name, entry.brief) for entry in entries if entry.group == group]
        yield Grid(columns=(Column(width=widest), Column(fold=True)), rows=rows, gap=2)
        yield Text()
    yield Text("maxact explain NAME tells what it is and what to do; an id that a run prints does too.")
