"""Figures of the paper over depth: maxima of the residual stream of every checkpoint, jumps and gradual growth, family
by family, and component by component.
"""

from collections.abc import Sequence
from itertools import pairwise

from pytest_maxact.judge.compare.jumps import JUMP_FACTOR
from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.judge.figures.published import PublishedCheckpoint, published_checkpoints
from pytest_maxact.judge.figures.stream import StreamPoint
from pytest_maxact.report.figures.build import (
    Row,
    chart_of,
    decades,
    logarithmic,
    made,
    number,
    positive,
    roles,
    said,
    tooltips,
)
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.paper.points import (
    OURS,
    SOURCE,
    depth_axis,
    named_beside,
    named_checkpoint,
    own_stream_rows,
    own_words,
    stream_rows,
)
from pytest_maxact.report.figures.theme import BREACH, GREEN, ORANGE, OWN, PURPLE, ZERO

_SHOWN = 3
_LINE = 1.8
"""Times as large a magnitude is, that stands a line of text further up."""
_HINTS = {"model": "model", "layer": "layer", "shown": "largest"}


def heat(drawn: Drawn) -> Figure:
    import altair as alt

    rows: list[Row] = [
        {
            "model": one.name,
            "left": number(layer / one.layers, 4),
            "right": number((layer + 1) / one.layers, 4),
            "layer": layer,
            "value": positive(value),
            "shown": said(value),
        }
        for one in sorted(published_checkpoints(), key=lambda one: one.max_abs)
        for layer, value in enumerate(one.maxima["hidden"])
    ]
    own = f"» {drawn.model}"
    order = [own, *dict.fromkeys(row["model"] for row in rows)]
    rows += [
        {
            "model": own,
            "left": number(row["layer"] / drawn.layers, 4),
            "right": row["depth"],
            "layer": row["layer"],
            "value": row["value"],
            "shown": row["shown"],
        }
        for row in own_stream_rows(drawn)
    ]
    base = chart_of().encode(
        x=depth_axis("left"),
        x2="right:Q",
        y=alt.Y("model:N", sort=order, title=None, axis=alt.Axis(labelLimit=200)),
        tooltip=tooltips(**_HINTS),
    )
    scale = alt.Scale(type="log", scheme="viridis")
    legend = alt.Legend(format="~s", tickCount=5)
    chart = alt.layer(
        base.mark_rect(style=ZERO),
        base.transform_filter("isValid(datum.value)").mark_rect(strokeWidth=0.5).encode(
            color=alt.Color("value:Q", title="residual maximum", scale=scale, legend=legend),
            stroke=alt.Stroke("value:Q", scale=scale, legend=None),
        ),
        base.transform_filter("!isValid(datum.value) && datum.shown !== '0'").mark_rect(color=BREACH),
    )  # fmt: skip
    caption = f"Residual maxima of every checkpoint over normalised depth; the model itself on top. {SOURCE}"
    return made("paper-03-depth", "Where in depth do activations grow?", caption, own_words(drawn), chart,
                16 * len(order), rows)  # fmt: skip


def jumps(drawn: Drawn) -> Figure:
    import altair as alt

    ordered = sorted(published_checkpoints(), key=_largest_jump)
    calm = [one for one in ordered if _largest_jump(one) < JUMP_FACTOR][:_SHOWN]
    steep = sorted({one.series: one for one in ordered}.values(), key=_largest_jump)[-_SHOWN:]
    role_of = {**{one.name: "jump" for one in steep}, **{one.name: "gradual" for one in calm}}
    streams = {one.model: one.points for one in drawn.stream.published}
    rows = [row for name, role in role_of.items() for row in _from_embedding(name, streams[name], role)]
    rows += _from_embedding(drawn.model, drawn.stream.points, OURS)
    base = chart_of().encode(
        x=depth_axis(),
        y=logarithmic("value", "residual maximum"),
        color=roles({"jump": ORANGE, "gradual": GREEN, "this model": OWN}),
        detail="model:N",
        tooltip=tooltips(**_HINTS),
    )
    last = {row["model"]: row for row in rows}
    ends = named_beside(last.values(), _LINE)
    chart = alt.layer(
        base.mark_line(strokeWidth=1.8),
        base.transform_filter("datum.role === 'this model'").mark_line(strokeWidth=3),
        chart_of("ends").mark_text(align="left", dx=5, fontSize=11).encode(x="depth:Q", y="beside:Q", text="model:N"),
    )  # fmt: skip
    caption = (
        "Checkpoints whose residual maximum jumps tenfold or more within a layer, of which the embedding comes before"
        f" the first, and those that grow gradually: of {_SHOWN} series those with the largest step, and the"
        f" {_SHOWN} checkpoints with the smallest. {SOURCE}"
    )
    own = [point.layer for point in drawn.stream.points if point.jumps]
    words = f"{own_words(drawn)} Jump layers: {', '.join(map(str, own)) or 'none'}."
    return made("paper-04-jumps", "Does it jump or grow?", caption, words, chart, 340, rows, ends=ends)


def _largest_jump(one: PublishedCheckpoint) -> float:
    """As `jump_layers` has it: the first layer's is that over the embedding."""
    return max(after / before for before, after in pairwise(one.stream))


def _from_embedding(model: str, points: Sequence[StreamPoint], role: str) -> list[Row]:
    return [
        {
            "model": model,
            "layer": point.layer,
            "depth": number(point.depth, 4),
            "value": positive(point.value),
            "shown": said(point.value),
            "role": role,
        }
        for point in points
    ]


def families(drawn: Drawn) -> Figure:
    import altair as alt

    rows = [row for one in published_checkpoints() for row in stream_rows(one, series=one.series, role="published")]
    series = list(dict.fromkeys(row["series"] for row in rows))
    rows += [row for name in series for row in own_stream_rows(drawn, series=name, role=OURS)]
    base = (
        chart_of()
        .mark_line(strokeWidth=1.5)
        .encode(
            x=alt.X("depth:Q", title="normalised depth", axis=alt.Axis(tickCount=3)),
            y=alt.Y(
                "value:Q",
                title="residual maximum",
                scale=alt.Scale(type="log", nice=True),
                axis=decades(values=[1, 100, 10_000, 1_000_000]),
            ),
            color=roles({"this model": OWN, "published": ORANGE}),
            detail="model:N",
            tooltip=tooltips(**_HINTS),
        )
        .properties(width=200, height=130)
    )
    chart = base.facet(alt.Facet("series:N", title=None), columns=3)
    caption = f"Residual maxima over normalised depth, family by family; the model itself in each. {SOURCE}"
    return made("paper-14-families", "How do families differ over depth?", caption, own_words(drawn), chart, 0, rows)


def components(drawn: Drawn) -> Figure:
    import altair as alt

    akin = [one.model for one in drawn.stream.published if one.akin] or ["Qwen2.5-7B"]
    beside = named_checkpoint(akin[0])
    kinds = {"hidden": OWN, "attn_output": ORANGE, "mlp_output": PURPLE}
    rows = [row for kind in kinds for row in own_stream_rows(drawn, kind, role=kind, whose=OURS)]
    rows += [row for kind in kinds for row in stream_rows(beside, kind, role=kind, whose=beside.name)]
    base = chart_of().encode(
        x=depth_axis(),
        y=logarithmic("value", "largest magnitude"),
        color=alt.Color("role:N", title=None, scale=alt.Scale(domain=list(kinds), range=list(kinds.values()))),
        tooltip=tooltips(model="model", role="site", layer="layer", shown="largest"),
    )
    scale = alt.Scale(domain=[OURS, beside.name], range=[[1, 0], [4, 3]])
    base = base.encode(strokeDash=alt.StrokeDash("whose:N", title=None, scale=scale))
    chart = alt.layer(
        base.transform_filter("datum.whose === 'this model'").mark_line(strokeWidth=2.5),
        base.transform_filter("datum.whose !== 'this model'").mark_line(strokeWidth=1.2),
    )
    caption = (
        "The residual stream and what attention and feed-forward blocks write to it; dashed, a published checkpoint"
        f" ({beside.name}). {SOURCE}"
    )
    return made("paper-15-components", "Which blocks write the large activations?", caption, own_words(drawn), chart,
                340, rows)  # fmt: skip
