"""A row per layer of one Record: its residual stream against its limit, its other maxima; a row more for any other site
that breaches.
"""

import math
from collections.abc import Iterator, Sequence

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
            Column(name="max|a|", right=True),
            Column(name="limit", right=True),
            Column(name="used"),
            Column(name="INT-8", right=True),
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
    style = "red" if row.failed else ""
    return [
        Text(label, style=style),
        Text(short(row.max_abs), style=style),
        Text("-" if row.limit is None else short(row.limit), style=style),
        Text("FAIL" if row.failed else "") if row.limit is None else _bar(row.usage, row.failed, blocks),
        Text(_decibel(row.int8_sqnr_db), style=style),
    ]


def _decibel(sqnr: float | None) -> str:
    return "-" if sqnr is None or math.isnan(sqnr) else f"{sqnr:.1f}" if math.isfinite(sqnr) else "exact"


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
