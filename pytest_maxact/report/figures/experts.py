"""Tokens per expert: how evenly routers spread tokens, layer by layer, and which experts none reached."""

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.report.figures.build import (
    chart_of,
    exact_axis,
    layer_axis,
    lean,
    listed,
    made,
    number,
    tooltips,
    zoom_along,
)
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.theme import BREACH, OWN

NAME, TITLE = "experts", "How evenly are tokens spread over experts?"
_CAPTION = (
    "Of every router the load of its experts, as a multiple of an even share, on an axis that is linear below one: thin"
    " line from the least to the most loaded expert, thick from the tenth to the ninetieth percentile, tick at the"
    " median. A cross with a number: so many experts were given no token at all."
)


def experts(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    if not drawn.experts:
        return LeftOut(name=NAME, title=TITLE, reason="the model has no routed experts")
    rows = [
        {
            "site": one.site,
            "layer": one.layer,
            "experts": one.experts,
            "pairs": one.pairs,
            **{name: number(getattr(one, name), 4) for name in ("least", "low", "median", "high", "most")},
            "busiest": one.busiest,
            "unreached": one.unreached or None,
            "which": one.which,
        }
        for one in drawn.experts
    ]
    hints = tooltips(
        site="site", experts="experts", pairs="token-expert pairs", least="least", median="median", most="most",
        busiest="most loaded expert", unreached="unreached", which="which",
    )  # fmt: skip
    scale = alt.Scale(type="symlog", constant=1)
    y = alt.Y("least:Q", title="load over an even share", scale=scale, axis=exact_axis(tickCount=6))
    base = chart_of().encode(x=layer_axis("layer", drawn.layers), tooltip=hints)
    empty = base.transform_filter("datum.unreached > 0").encode(y=alt.value("height"))
    chart = alt.layer(
        base.mark_rule(strokeWidth=1, color=OWN, opacity=0.7).encode(y=y, y2="most:Q").add_params(zoom_along("x")),
        base.mark_rule(strokeWidth=5, color=OWN).encode(y="low:Q", y2="high:Q"),
        base.mark_point(shape="stroke", size=90, color="white", strokeWidth=2, opacity=1).encode(y="median:Q"),
        base.mark_point(filled=True, size=28, color=OWN, opacity=1).encode(y="most:Q"),
        empty.mark_point(shape="cross", angle=45, filled=True, size=90, color=BREACH, opacity=1, yOffset=-8),
        empty.mark_text(dy=-20, fontSize=11, color=BREACH).encode(text="unreached:N"),
        chart_of("even").mark_rule(strokeDash=[4, 3]).encode(y="at:Q", tooltip=tooltips(name="line")),
    )
    even = [{"at": 1, "name": "an even share"}]
    slim = lean(rows, *rows[0])
    return made(NAME, TITLE, _CAPTION, _alternative(drawn), chart, 260, rows, rows=slim, even=even)


def _alternative(drawn: Drawn) -> str:
    most = max(drawn.experts, key=lambda one: one.most)
    empty = [f"{one.site} ({one.unreached} of {one.experts})" for one in drawn.experts if one.unreached]
    return (
        f"{len(drawn.experts)} routers. The most loaded expert is {most.busiest} of {most.site}, with {most.most:.3g}"
        f" times an even share. Experts that no token reached: {listed(empty)}."
    )
