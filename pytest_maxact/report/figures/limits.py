"""How near every site is to its limit: the share of it that the largest magnitude uses, layer by layer."""

from collections.abc import Sequence
from typing import Any

from pytest_maxact.judge.figures.cells import Cell
from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.sites import KINDS
from pytest_maxact.record.metrics.metric import MAX_ABS
from pytest_maxact.report.figures.build import (
    Row,
    apart,
    broken_points,
    chart_of,
    exact_axis,
    layer_axis,
    lean,
    listed,
    logarithmic,
    made,
    number,
    said,
    tooltips,
    zoom_along,
)
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.theme import BREACH

NAME, TITLE = "limits", "How near is every site to its limit?"
_CAPTION = (
    "The largest magnitude of every site as percent of the limit that it is held to, by layer; on a logarithmic axis"
    " where one uses more than twice its limit, which has no place for a site of zeros. What stands above the dashed"
    " line exceeds its limit, and has a ring"
    " where that fails the run. A cross at the upper edge: entries that are NaN or infinite."
)
_NEAREST = 3
_TWICE, _ROOM = 200, 1.05
"""Percent up to which the axis is linear, and how much of it there is above the largest."""


def limits(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    held = [cell for cell in drawn.cells if cell.limit is not None]
    if not held:
        reason = "no site has a limit on its largest magnitude" if drawn.limited else "it was not held against limits"
        return LeftOut(name=NAME, title=TITLE, reason=reason)
    rows = tuple(map(_row, held))
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    hints = tooltips(site="site", share="used", largest="largest", limited="limit", checks="checks that fail")
    x, y = layer_axis("depth", drawn.layers), _percent(rows)
    has_place = "datum.used > 0" if _is_logarithmic(rows) else "isValid(datum.used)"
    known = chart_of().transform_filter(has_place).encode(x=x, y=y, tooltip=hints)
    chart = alt.layer(
        chart_of("line").mark_rule(strokeDash=[5, 4]).encode(y=alt.Y("at:Q"), tooltip=tooltips(name="line")),
        known.mark_point(filled=True, size=44, opacity=0.9)
        .encode(**apart("kind", kinds))
        .add_params(zoom_along("x", "y")),
        known.transform_filter("isValid(datum.over)").mark_point(
            filled=False, size=190, strokeWidth=2, stroke=BREACH, opacity=1
        ),
        broken_points(chart_of(), BREACH, x=x, tooltip=hints),
    )  # fmt: skip
    line = [{"at": 100, "name": "the limit"}]
    return made(NAME, TITLE, _CAPTION, _alternative(held), chart, 260, rows, rows=lean(rows, *rows[0]), line=line)


def _percent(rows: Sequence[Row]) -> Any:
    """An axis that tells 95 % from 105 % wherever it can."""
    import altair as alt

    title = "percent of the limit"
    if _is_logarithmic(rows):
        return logarithmic("used", title)
    scale = alt.Scale(domain=[0, _ROOM * max(_most(rows), 100)], nice=False)
    return alt.Y("used:Q", title=title, scale=scale, axis=exact_axis(tickCount=6))


def _is_logarithmic(rows: Sequence[Row]) -> bool:
    """A zero has no place on such an axis, and one in its data would leave none for all others."""
    return _most(rows) > _TWICE


def _most(rows: Sequence[Row]) -> float:
    return max((row["used"] or 0.0 for row in rows), default=0.0)


def _row(cell: Cell) -> Row:
    finite = number(cell.used) is not None
    return {
        "site": cell.site,
        "kind": cell.kind,
        "depth": cell.depth,
        "used": number(None if cell.used is None else 100 * cell.used, 5),
        "share": f"{cell.used:.1%}" if finite else "NaN or infinite",
        "largest": said(cell.value),
        "limited": f"{said(cell.limit)} ({cell.stated})",
        "checks": ", ".join(cell.failing),
        "over": (not (cell.used or 0.0) <= 1.0 and MAX_ABS.name in cell.failing) or None,
        "broken": (not finite) or None,
    }


def _alternative(held: Sequence[Cell]) -> str:
    finite = [cell for cell in held if number(cell.used) is not None]
    over = [cell.site for cell in finite if not (cell.used or 0.0) <= 1.0]
    nearest = sorted(finite, key=lambda cell: -(cell.used or 0.0))[:_NEAREST]
    broken = [cell.site for cell in held if cell not in finite]
    told = ", ".join(f"{cell.site} {cell.used:.1%} ({said(cell.value)} of {said(cell.limit)})" for cell in nearest)
    return (
        f"{counted(len(held), 'site')} with a limit, {len(over)} above it: {listed(over)}. Nearest or furthest above:"
        f" {told or 'none'}. Not finite: {listed(broken)}."
    )
