"""The largest magnitude of every site, layer by layer: a heat map with the breaches outlined."""

from pytest_maxact.judge.figures.cells import Cell
from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.sites import KINDS
from pytest_maxact.report.figures.build import (
    Row,
    as_cells,
    chart_of,
    layer_axis,
    lean,
    listed,
    made,
    number,
    outlined,
    positive,
    said,
    tooltips,
    zoom_along,
)
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.theme import BREACH, INK, ZERO

NAME, TITLE = "heat", "Where are the largest activations?"
_CAPTION = (
    "The largest magnitude of every site, by layer, on a logarithmic scale of colour. Outlined: a check fails there,"
    " dashed where a waiver lets it pass. A cross: entries that are NaN or infinite. Embedding and final norm stand"
    " before the first layer and after the last. Drag and scroll to move and zoom along the layers."
)
_HINTS = {
    "site": "site",
    "shown": "largest",
    "limited": "limit",
    "share": "used",
    "channel": "channel",
    "token": "token",
    "sample": "sample",
    "checks": "checks that fail",
}


def heat(drawn: Drawn) -> Figure:
    import altair as alt

    rows = tuple(map(_row, drawn.cells))
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    hints = tooltips(**_HINTS)
    base = as_cells(chart_of(), drawn.layers, kinds, tooltip=hints)
    scale = alt.Scale(type="log", scheme="viridis")
    legend = alt.Legend(format="~g", tickCount=4)
    cells = base.transform_filter("isValid(datum.colour)").mark_rect()
    cells = cells.encode(color=alt.Color("colour:Q", title="largest magnitude", scale=scale, legend=legend))
    zeros = base.transform_filter("datum.value === 0").mark_rect(style=ZERO)
    broken = base.transform_filter("datum.nonfinite > 0").mark_rect(color=BREACH, opacity=0.35)
    crosses = (
        chart_of()
        .transform_filter("datum.nonfinite > 0")
        .mark_point(shape="cross", angle=45, filled=True, size=70, style=INK)
        .encode(x=layer_axis("depth", drawn.layers), y=alt.Y("kind:N", sort=kinds, title=None), tooltip=hints)
    )
    waived = base.transform_filter("datum.breach === 'waived'").mark_rect(
        fillOpacity=0, stroke=BREACH, strokeWidth=2.5, strokeDash=[3, 2]
    )
    fails = outlined(base.transform_filter("datum.breach === 'fails'"))
    chart = alt.layer(zeros, cells.add_params(zoom_along("x")), broken, crosses, waived, *fails)
    fields = (*_HINTS, "kind", "depth", "value", "colour", "nonfinite", "breach")
    return made(NAME, TITLE, _CAPTION, _alternative(drawn), chart, 24 * len(kinds) + 20, rows, rows=lean(rows, *fields))


def _row(cell: Cell) -> Row:
    return {
        "site": cell.site,
        "kind": cell.kind,
        "depth": cell.depth,
        "value": number(cell.value),
        "shown": said(cell.value),
        "colour": positive(cell.value),
        "nonfinite": cell.nonfinite or None,
        "limit": number(cell.limit),
        "limited": f"{said(cell.limit)} ({cell.stated})" if cell.limit is not None else "none",
        "used": number(cell.used),
        "share": "" if cell.used is None else said(cell.used) if number(cell.used) is None else f"{cell.used:.1%}",
        "channel": cell.channel,
        "token": cell.token,
        "sample": cell.sample,
        "breach": "fails" if cell.failing else "waived" if cell.waived else "",
        "checks": ", ".join((*cell.failing, *cell.waived)),
    }


def _alternative(drawn: Drawn) -> str:
    finite = [cell for cell in drawn.cells if not cell.nonfinite]
    top = sorted(finite, key=lambda cell: -cell.value)[:3]
    limits = ", ".join(f"{cell.site} {said(cell.value)} (limit {said(cell.limit)})" for cell in top)
    failing = listed([cell.site for cell in drawn.cells if cell.failing])
    return (
        f"Heat map of {counted(len(drawn.cells), 'site')} in {counted(drawn.layers, 'layer')}. Largest: {limits}."
        f" Not finite: {listed([cell.site for cell in drawn.cells if cell.nonfinite])}. "
        + (f"Checks fail at: {failing}." if drawn.limited else "It was not held against limits.")
    )
