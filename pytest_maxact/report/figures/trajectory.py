"""The residual stream over normalised depth, among those of the published checkpoints."""

from typing import TYPE_CHECKING

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.judge.figures.stream import PublishedStream, Stream
from pytest_maxact.report.figures.build import (
    Row,
    broken_points,
    chart_of,
    listed,
    logarithmic,
    made,
    number,
    positive,
    roles,
    said,
    tooltips,
    zoom_along,
)
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.theme import BREACH, FAMILY, GREY, OWN

if TYPE_CHECKING:
    import altair as alt

NAME, TITLE = "trajectory", "How does the residual stream grow with depth?"
_CAPTION = (
    "The largest magnitude of the residual stream from the embedding (0) to the last layer (1), on a logarithmic axis."
    " A triangle marks a jump layer, which multiplies it by ten or more; a cross, entries that are NaN or infinite; a"
    " ring on the axis, nothing but zeros."
    " Pale: the 27 published checkpoints (arXiv 2605.15572), those of the same family in colour."
)
_ROLES = {
    "this model": OWN,
    "its limits": BREACH,
    "published, same family": FAMILY,
    "published": GREY,
}


def trajectory(drawn: Drawn) -> Figure:
    import altair as alt

    stream = drawn.stream
    own = _own(stream)
    published = [row for one in stream.published for row in _published(one)]
    x = alt.X(
        "depth:Q", title="normalised depth", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="~g", tickCount=10)
    )
    y, colour = logarithmic("value", "largest magnitude"), roles(_colours(stream))
    others = chart_of("published").encode(
        x=x, y=y, color=colour, detail="model:N", tooltip=tooltips(model="published", shown="largest of its stream"),
        opacity=alt.condition("datum.role === 'published'", alt.value(0.45), alt.value(0.95)),
    )  # fmt: skip
    hints = tooltips(place="after", shown="largest", limited="limit", jump="jump")
    ours = chart_of().encode(x=x, color=colour, tooltip=hints)
    inward = alt.expr("datum.depth > 0.9 ? 'right' : datum.depth < 0.1 ? 'left' : 'center'")
    chart = alt.layer(
        others.mark_line(strokeWidth=1.2),
        ours.transform_filter("isValid(datum.limit)")
        .transform_calculate(role="'its limits'")
        .mark_line(strokeDash=[5, 4], strokeWidth=1.5)
        .encode(y=alt.Y("limit:Q")),
        ours.mark_line(strokeWidth=2.5).encode(y=y),
        ours.mark_point(filled=True, size=34, opacity=1).encode(y=y).add_params(zoom_along("x", "y")),
        ours.transform_filter("isValid(datum.jump)")
        .mark_point(shape="triangle-up", filled=True, size=150, opacity=1)
        .encode(y=y),
        ours.transform_filter("isValid(datum.jump)")
        .mark_text(dx=_beside(10, 0), dy=_beside(4, -14), fontSize=11, align=inward)
        .encode(y=y, text="place:N"),
        ours.transform_filter("datum.shown === '0'").mark_point(size=60, opacity=1).encode(y=alt.value("height")),
        broken_points(chart_of(), BREACH, x=x, tooltip=hints),
    )
    return made(NAME, TITLE, _CAPTION, _alternative(drawn), chart, 380, own, published=published)


def _beside(first: int, others: int) -> "alt.ExprRef":
    """Pixels by which a name stands off its triangle: of the first layers to its right, where no line runs."""
    import altair as alt

    return alt.expr(f"datum.depth < 0.1 ? {first} : {others}")


def _colours(stream: Stream) -> dict[str, str]:
    """Of those roles that there are."""
    held = any(point.limit is not None for point in stream.points)
    akin = any(one.akin for one in stream.published)
    left = {*([] if held else ["its limits"]), *([] if akin else ["published, same family"])}
    return {role: colour for role, colour in _ROLES.items() if role not in left}


def _own(stream: Stream) -> list[Row]:
    return [
        {
            "role": "this model",
            "place": "embedding" if point.layer is None else f"layer {point.layer}",
            "layer": point.layer,
            "depth": number(point.depth),
            "value": positive(point.value),
            "shown": said(point.value),
            "limit": positive(point.limit),
            "limited": said(point.limit),
            "jump": "jump" if point.jumps else None,
            "broken": number(point.value) is None,
        }
        for point in stream.points
    ]


def _published(one: PublishedStream) -> list[Row]:
    largest = said(max(point.value for point in one.points))
    role = "published, same family" if one.akin else "published"
    return [
        {
            "model": one.model,
            "role": role,
            "depth": number(point.depth, 3),
            "value": number(point.value, 4),
            "shown": largest,
        }
        for point in one.points
    ]


def _alternative(drawn: Drawn) -> str:
    points = drawn.stream.points
    finite = [point for point in points if number(point.value) is not None]
    broken = [f"layer {point.layer}" for point in points if number(point.value) is None]
    jumps = [f"layer {point.layer}" for point in points if point.jumps]
    if not finite:
        return "Every point of the residual stream has entries that are NaN or infinite."
    top = max(finite, key=lambda point: point.value)
    family = f"; of the published family {drawn.stream.family}" if drawn.stream.family else ""
    return (
        f"Line over {len(points)} points, from {said(points[0].value)} to {said(points[-1].value)}, largest"
        f" {said(top.value)} after {'the embedding' if top.layer is None else f'layer {top.layer}'}{family}."
        f" Jump layers: {listed(jumps)}. Not finite: {listed(broken)}."
    )
