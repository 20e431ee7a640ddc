"""The largest magnitude of every site, layer by layer: a heat map with the breaches outlined."""

from pytest_maxact.judge.figures.cells import Cell
from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.sites import KINDS
from pytest_maxact.report.figures.build import (
    Row,
    layer_axis,
    named,
    number,
    positive,
    said,
    spec_of,
    tooltips,
    zoom_along,
)
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.theme import BREACH, INK, ZERO

NAME, TITLE = "heat", "Where are the largest activations, and how near to their limits?"
_CAPTION = (
    "The largest magnitude of every site, by layer, on a logarithmic scale of colour. Outlined: a check fails there,"
    " dashed where a waiver lets it pass. A cross: entries that are NaN or infinite. Embedding and final norm stand"
    " before the first layer and after the last. Drag and scroll to move and zoom along the layers."
)
_LISTED = 8


def heat(drawn: Drawn) -> Figure:
    rows = tuple(map(_row, drawn.cells))
    return Figure(
        name=NAME, title=TITLE, caption=_CAPTION, alternative=_alternative(drawn), spec=_spec(drawn, rows), rows=rows
    )


def _row(cell: Cell) -> Row:
    return {
        "site": cell.site,
        "kind": cell.kind,
        "left": cell.depth - 0.5,
        "right": cell.depth + 0.5,
        "middle": cell.depth,
        "value": number(cell.value),
        "shown": said(cell.value),
        "colour": positive(cell.value),
        "nonfinite": cell.nonfinite,
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


def _spec(drawn: Drawn, rows: tuple[Row, ...]) -> dict[str, object]:
    import altair as alt

    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    y = alt.Y("kind:N", sort=kinds, title=None)
    hints = tooltips(site="site", shown="largest", limited="limit", share="used", channel="channel", token="token",
                     sample="sample", checks="checks that fail")  # fmt: skip
    base = alt.Chart(named()).encode(x=layer_axis("left", drawn.layers), x2="right:Q", y=y, tooltip=hints)
    cells = base.transform_filter("isValid(datum.colour)").mark_rect().encode(
        color=alt.Color("colour:Q", title="largest magnitude", scale=alt.Scale(type="log", scheme="viridis"))
    )  # fmt: skip
    zeros = base.transform_filter("datum.value === 0").mark_rect(style=ZERO)
    is_broken = "datum.nonfinite > 0"
    broken = base.transform_filter(is_broken).mark_rect(color=BREACH, opacity=0.35)
    crosses = (
        alt.Chart(named())
        .transform_filter(is_broken)
        .mark_point(shape="cross", angle=45, filled=True, size=70, style=INK)
        .encode(x=layer_axis("middle", drawn.layers), y=y, tooltip=hints)
    )
    fails, waived = (
        base.transform_filter(alt.datum.breach == breach).mark_rect(
            fillOpacity=0, stroke=BREACH, strokeWidth=2.5, strokeDash=dash
        )
        for breach, dash in (("fails", [1, 0]), ("waived", [3, 2]))
    )
    chart = alt.layer(zeros, cells.add_params(zoom_along("x")), broken, crosses, waived, fails)
    return spec_of(chart, 24 * len(kinds) + 20, rows=rows)


def _alternative(drawn: Drawn) -> str:
    finite = [cell for cell in drawn.cells if not cell.nonfinite]
    broken = [cell for cell in drawn.cells if cell.nonfinite]
    failing = [cell for cell in drawn.cells if cell.failing]
    top = sorted(finite, key=lambda cell: -cell.value)[:3]
    limits = ", ".join(f"{cell.site} {said(cell.value)} (limit {said(cell.limit)})" for cell in top)
    words = [f"Heat map of {counted(len(drawn.cells), 'site')} in {counted(drawn.layers, 'layer')}. Largest: {limits}."]
    words.append(f"Not finite: {_names(broken)}.")
    words.append(f"Checks fail at: {_names(failing)}." if drawn.limited else "It was not held against limits.")
    return " ".join(words)


def _names(cells: list[Cell]) -> str:
    names = [cell.site for cell in cells]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more if names else "none"
