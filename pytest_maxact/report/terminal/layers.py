"""A row per layer of one Record: its residual stream against its limit, its other maxima; a row more for any other site
that breaches.

A column is an entry of `_COLUMNS`: its cell and, where its name says too little, its words below the table. The table
must fit 80 columns. Figures of seven characters fill 67 of them, with a router 75, and the row of a breaching site
takes up to eight more for its name; a new column takes its width and a blank.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from pytest_maxact.judge.portrait import SiteRow
from pytest_maxact.report.terminal.screen import Column, Grid, short

_BAR = 10
_LABELS = {"embedding": "embed", "final_norm": "norm"}
_OTHERS = {"attn_output": "attn", "mlp_output": "mlp", "gate": "gate", "router": "router"}
Cells = list[str | Text]


def layers_grid(rows: Sequence[SiteRow], blocks: bool) -> Grid:
    """`blocks`: whether bars may be drawn with them. A router has a column where a site is one."""
    others = [kind for kind in _OTHERS if kind != "router" or any(row.site.kind == "router" for row in rows)]
    return Grid(
        columns=(
            Column(name="layer"),
            *(shown.column for shown in _COLUMNS),
            *(Column(name=_OTHERS[kind], right=True) for kind in others),
        ),
        rows=list(_rows(rows, others, blocks)),
    )


def _rows(rows: Sequence[SiteRow], others: Sequence[str], blocks: bool) -> Iterator[Cells]:
    layers: dict[str, dict[str, SiteRow]] = {}
    for row in rows:
        layers.setdefault(_LABELS.get(row.site.kind, str(row.site.layer)), {})[row.site.kind] = row
    for label, kinds in layers.items():
        head = kinds.get("hidden") or next(iter(kinds.values()))
        beside = [short(kinds[kind].max_abs) if kind in kinds else "" for kind in others]
        yield [*_cells(label, head, blocks), *beside]
        for kind, row in kinds.items():
            if row is not head and row.failed:
                yield _cells(f"  {kind}", row, blocks)


def _cells(label: str, row: SiteRow, blocks: bool) -> Cells:
    return [_marked(label, row), *(shown.cell(row, blocks) for shown in _COLUMNS)]


def _marked(text: str, row: SiteRow) -> Text:
    return Text(text, style="red" if row.failed else "")


def _maximum(row: SiteRow, blocks: bool) -> Text:
    return _marked(short(row.max_abs), row)


def _limit(row: SiteRow, blocks: bool) -> Text:
    return _marked("-" if row.limit is None else short(row.limit), row)


def _used(row: SiteRow, blocks: bool) -> Text:
    if row.limit is None:
        return Text("FAIL" if row.failed else "")
    return _bar(row.usage, row.failed, blocks)


def _decibel(row: SiteRow, blocks: bool) -> Text:
    sqnr = row.int8_sqnr_db
    if sqnr is None or math.isnan(sqnr):
        return _marked("-", row)
    return _marked(f"{sqnr:.1f}" if math.isfinite(sqnr) else "exact", row)


def _bar(usage: float, failed: bool, blocks: bool) -> Text:
    full, empty = ("█", "░") if blocks else ("#", ".")
    if not math.isfinite(usage):
        return Text(full * _BAR + " FAIL", style="bold red")
    filled = min(_BAR, math.ceil(usage * _BAR)) if usage > 0 else 0
    words = "FAIL" if failed else f"{usage:.0%}" if usage >= 0.01 or usage == 0 else "<1%"
    style = "bold red" if failed else "yellow" if usage > 0.8 else "green"
    return Text.assemble(
        (full * filled, style), (empty * (_BAR - filled), "dim"), f" {words}", style=style if failed else ""
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A column of every row; `cell` is given the row and whether blocks may be drawn. `words`: what its name leaves
    out.
    """

    column: Column
    cell: Callable[[SiteRow, bool], Text]
    words: str = ""


_COLUMNS = (
    _Shown(
        column=Column(name="max|a|", right=True),
        cell=_maximum,
        words="largest magnitude of the residual stream after the layer",
    ),
    _Shown(column=Column(name="limit", right=True), cell=_limit),
    _Shown(column=Column(name="used"), cell=_used),
    _Shown(column=Column(name="INT-8", right=True), cell=_decibel, words="SQNR in dB, per tensor"),
)
LEGEND = " ".join(f"{shown.column.name}: {shown.words}." for shown in _COLUMNS if shown.words)
"""The words of the columns, for below the table."""
