"""A row per layer of one Record: its residual stream against its limit, its other maxima; a row more for any other site
of which a check fails or is waived, or of which an entry is not finite. What is at fault is marked, in colour and in
words, and nothing else. Of a deep model layers where nothing happens share a row (`folding`); where all is asked for,
every site has one.

A column is an entry of `_COLUMNS`: its cell and, where its name says too little, its words below the table. The table
must fit 80 columns. Figures of seven characters fill 67 of them, with a router 75, and the row of a breaching site
takes up to eight more for its name; a new column takes its width and a blank. On a narrower screen the last of other
maxima are left out, and said to be.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from pytest_maxact.judge.portrait import SiteRow
from pytest_maxact.record.metrics.metric import LEAST, MAX_ABS, MEDIAN, NONFINITE, UNREACHED, Kind, Metric, Of
from pytest_maxact.report.terminal.folding import ALL, Layer, stretches
from pytest_maxact.report.terminal.screen import MORE, Column, Grid, Screen, Text, short, width_of

_USED, _BAR, _CAUSE = 15, 10, 8
"""Columns of what is used of a limit, of its bar, and of what fails instead."""
_LABELS = {"embedding": "embed", "final_norm": "norm"}
_OTHERS = {"attn_output": "attn", "mlp_output": "mlp", "gate": "gate", "router": "router"}
Cells = list[str | Text]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A column of every row; `cell` is given the row and whether blocks may be drawn. `words`: what its name leaves
    out.
    """

    column: Column
    cell: Callable[[SiteRow, bool], Text]
    words: str = ""


def layers_grid(rows: Sequence[SiteRow], screen: Screen) -> tuple[Grid, str]:
    """The table, and what it leaves out, in words. A router has a column where a site is one."""
    layers = list(_by_layer(rows).items())
    judged = any(row.limit is not None or row.failing or row.waived or row.close for row in rows)
    columns = _COLUMNS if judged else _UNLIMITED
    deep = sum(head_of(layer).site.layer is not None for layer in layers) > ALL and not screen.whole
    found = stretches(layers, list(map(head_of, layers))) if deep else [(layer,) for layer in layers]
    kinds = {row.site.kind for row in rows}
    others = [] if screen.whole else [kind for kind in _OTHERS if kind != "router" or kind in kinds]
    left: list[str] = []
    while width_of(grid := _grid(found, columns, others, screen), screen) > screen.width and others:
        left.insert(0, others.pop())
    return grid, " ".join(_left_out(found, left, screen))


def _left_out(found: Sequence[Sequence[Layer]], left: Sequence[str], screen: Screen) -> Iterator[str]:
    folded = [stretch for stretch in found if len(stretch) > 1]
    if folded:
        layers = sum(len(stretch) for stretch in found if head_of(stretch[0]).site.layer is not None)
        yield (
            f"{sum(map(len, folded))} of {layers} layers are folded, where nothing fails, is waived, too close"
            f" to call or not finite: a row has the worst of each column. {MORE} shows every site of every layer."
        )
    if left:
        yield f"Left out in {screen.width} columns: {', '.join(_OTHERS[kind] for kind in left)}; {MORE} has a row each."


def head_of(layer: Layer) -> SiteRow:
    """The row that stands for a layer: its residual stream, or its first where there is none."""
    kinds = layer[1]
    return kinds.get("hidden") or next(iter(kinds.values()))


def _by_layer(rows: Sequence[SiteRow]) -> dict[str, dict[str, SiteRow]]:
    layers: dict[str, dict[str, SiteRow]] = {}
    for row in rows:
        layers.setdefault(_LABELS.get(row.site.kind, str(row.site.layer)), {})[row.site.kind] = row
    return layers


def _grid(found: Sequence[Sequence[Layer]], columns: Sequence[_Shown], others: Sequence[str], screen: Screen) -> Grid:
    return Grid(
        columns=(
            Column(name="layer"),
            *(shown.column for shown in columns),
            *(Column(name=_OTHERS[kind], right=True) for kind in others),
        ),
        rows=[cells for stretch in found for cells in _rows(stretch, columns, others, screen)],
    )


def _rows(
    stretch: Sequence[Layer], columns: Sequence[_Shown], others: Sequence[str], screen: Screen
) -> Iterator[Cells]:
    if len(stretch) > 1:
        yield _folded(stretch, columns, others, screen)
        return
    label, kinds = layer = stretch[0]
    head, blocks = head_of(layer), screen.has_blocks
    beside = [short(kinds[kind].max_abs) if kind in kinds else "" for kind in others]
    yield [*_cells(label, head, columns, blocks), *beside]
    for kind, row in kinds.items():
        if row is not head and (screen.whole or row.failing or row.waived or row.close or row.nonfinite):
            yield [*_cells(f"  {kind}", row, columns, blocks), *("" for _ in others)]


def _folded(stretch: Sequence[Layer], columns: Sequence[_Shown], others: Sequence[str], screen: Screen) -> Cells:
    """A row for several layers: of each column the worst."""
    heads = list(map(head_of, stretch))
    used = max(heads, key=lambda row: row.usage if row.usage >= 0.0 else -1.0)
    limits = {row.limit for row in heads}
    worst = replace(
        used,
        max_abs=max(row.max_abs for row in heads),
        int8_sqnr_db=min((row.int8_sqnr_db for row in heads if row.int8_sqnr_db is not None), default=None),
    )
    cells = _cells(f"{stretch[0][0]}-{stretch[-1][0]}", worst, columns, screen.has_blocks)
    if len(limits) > 1:
        cells[[shown.column.name for shown in columns].index("limit") + 1] = "each"
    beside = ([kinds[kind].max_abs for _, kinds in stretch if kind in kinds] for kind in others)
    return [*cells, *(short(max(values)) if values else "" for values in beside)]


def _cells(label: str, row: SiteRow, columns: Sequence[_Shown], blocks: bool) -> Cells:
    return [_marked(label, row), *(shown.cell(row, blocks) for shown in columns)]


def _marked(text: str, row: SiteRow, kinds: Collection[Kind] = tuple(Kind)) -> Text:
    """In red where a check of these kinds fails, in yellow where one is waived or too close to call."""
    if any(metric.kind in kinds for metric in row.failing):
        return Text(text, style="red")
    return Text(text, style="yellow" if any(metric.kind in kinds for metric in (*row.waived, *row.close)) else "")


def _maximum(row: SiteRow, blocks: bool) -> Text:
    return _marked(short(row.max_abs), row, (Kind.MAX_ABS, Kind.LEAST, Kind.NONFINITE))


def _limit(row: SiteRow, blocks: bool) -> Text:
    return _marked("-" if row.limit is None else short(row.limit), row, (Kind.MAX_ABS,))


def _used(row: SiteRow, blocks: bool) -> Text:
    """How much of the limit on the maximum is used, where that is what there is to say; else what fails, is waived, or
    is too close to call.
    """
    told = ((row.failing, "FAIL", "bold red"), (row.waived, "waived", "yellow"), (row.close, "close", "yellow"))
    for metrics, word, style in told:
        if MAX_ABS in metrics and row.limit is not None:
            return _bar(row.usage, word, style, blocks)
        if metrics:
            return Text(f"{word} {_cause(metrics)}", style=style)
    if row.limit is None:
        return Text()
    share = f"{row.usage:.0%}" if row.usage >= 0.01 or row.usage == 0 else "<1%"
    return _bar(row.usage, share, "yellow" if row.usage > 0.8 else "green", blocks, quiet=True)


def _decibel(row: SiteRow, blocks: bool) -> Text:
    sqnr = row.int8_sqnr_db
    if sqnr is None or math.isnan(sqnr):
        return _marked("-", row, (Kind.INTEGER,))
    return _marked(f"{sqnr:.1f}" if math.isfinite(sqnr) else "exact", row, (Kind.INTEGER,))


def _bar(usage: float, words: str, style: str, blocks: bool, quiet: bool = False) -> Text:
    """With `words` behind it, in 15 columns, and full only where all of a limit is used; `quiet`: the words without the
    colour of the bar.
    """
    full, empty = ("█", "░") if blocks else ("#", ".")
    length = min(_BAR, _USED - 1 - len(words))
    filled = math.floor(min(usage, 1.0) * length) if usage >= 0 else length
    return Text.assemble(
        (full * filled, style), (empty * (length - filled), "dim"), f" {words}", style="" if quiet else style
    )


def _cause(metrics: Sequence[Metric]) -> str:
    """What fails beside the maximum, in at most eight characters."""
    causes = list(dict.fromkeys(map(_brief, metrics)))
    return causes[0] if len(causes) == 1 else f"{len(metrics)} checks"


def _brief(metric: Metric) -> str:
    if metric.kind is Kind.INTEGER:
        return f"INT-{metric.bits}"
    if metric.kind is Kind.SCHEME:
        return metric.scheme if len(metric.scheme) <= _CAUSE else "low bits"
    if metric.kind.of is Of.CHANGE:
        return "baseline"
    named = {NONFINITE: "NaN/Inf", LEAST: "small", MEDIAN: "small", UNREACHED: "experts"}
    return named.get(metric, metric.name.partition(".")[0][:_CAUSE])


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
_UNLIMITED = tuple(shown for shown in _COLUMNS if shown.column.name not in ("limit", "used"))
"""Those of a Record that is shown as it is, judged by nothing."""
LEGEND = " ".join(f"{shown.column.name}: {shown.words}." for shown in _COLUMNS if shown.words)
"""The words of the columns, for below the table."""
