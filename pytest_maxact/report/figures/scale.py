"""M on the scale of the published checkpoints, with the tiers that were observed among them."""

from typing import Any

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.judge.figures.scale import TIERS, Ranked
from pytest_maxact.report.figures.build import (
    Row,
    chart_of,
    logarithmic,
    made,
    number,
    positive,
    roles,
    said,
    tooltips,
)
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.theme import FAMILY, GREY, OWN

NAME, TITLE = "scale", "Where does M stand among published checkpoints?"
_CAPTION = (
    "M, the largest activation of each checkpoint, on a logarithmic axis; the model itself as a diamond. Bands: the"
    " tiers of the paper (arXiv 2605.15572), ranges that were observed, not bounds."
)
_COLOURS = {"this model": OWN, "published, same family": FAMILY, "published": GREY}


def scale(drawn: Drawn) -> Figure:
    import altair as alt

    rows = [_row(place, one) for place, one in enumerate(drawn.ranked)]
    akin = any(one.akin for one in drawn.ranked)
    colours = {role: colour for role, colour in _COLOURS.items() if akin or role != "published, same family"}
    labels = [row["label"] for row in rows]
    y = alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelLimit=200))
    x = logarithmic("value", "M", along="x")
    hints = tooltips(model="model", shown="M", carrier="site")
    base = chart_of().encode(x=x, y=y, color=roles(colours), tooltip=hints)
    tiers = [
        {
            "low": tier.low,
            "high": tier.high,
            "of": tier.of,
            "middle": (tier.low * tier.high) ** 0.5,
            "top": tier.low > 1e5,
        }
        for tier in TIERS
    ]
    bands = chart_of("tiers").encode(x=alt.X("low:Q"), x2="high:Q", tooltip=tooltips(of="tier"))
    low = chart_of("tiers").transform_filter("!datum.top").encode(x=alt.X("low:Q"), y=alt.value("height"), text="of:N")
    high = chart_of("tiers").transform_filter("datum.top").encode(x=alt.X("high:Q"), y=alt.value(0), text="of:N")
    chart = alt.layer(
        bands.mark_rect(color=GREY, opacity=0.18),
        low.mark_text(angle=270, fontSize=11, opacity=0.8, align="left", dx=4, dy=11),
        high.mark_text(angle=270, fontSize=11, opacity=0.8, align="right", dx=-4, dy=-7),
        base.transform_filter("datum.role !== 'this model'").mark_point(filled=True, size=60, opacity=1),
        base.transform_filter("datum.role === 'this model'").mark_point(
            filled=True, size=170, opacity=1, shape="diamond"
        ),
        _broken(y, hints),
    )  # fmt: skip
    return made(NAME, TITLE, _CAPTION, _alternative(drawn), chart, 17 * len(rows), rows, tiers=tiers)


def _broken(y: Any, hints: Any) -> Any:
    import altair as alt

    return (
        chart_of()
        .transform_filter("datum.broken")
        .mark_point(shape="cross", angle=45, filled=True, size=150, color=OWN)
        .encode(x=alt.value("width"), y=y, tooltip=hints)
    )


def _row(place: int, one: Ranked) -> Row:
    role = "this model" if one.own else "published, same family" if one.akin else "published"
    return {
        "rank": place + 1,
        "label": f"» {one.model}" if one.own else one.model,
        "model": one.model,
        "role": role,
        "value": positive(one.max_abs),
        "shown": said(one.max_abs),
        "carrier": one.carrier,
        "broken": number(one.max_abs) is None,
    }


def _alternative(drawn: Drawn) -> str:
    own = next(one for one in drawn.ranked if one.own)
    if number(own.max_abs) is None:
        return f"M of {own.model} is NaN or infinite, and has no place among the published checkpoints."
    tier = next((f"; in the tier of {tier.of}" for tier in TIERS if tier.low <= own.max_abs <= tier.high), "")
    return f"M of {own.model} is {said(own.max_abs)} at {own.carrier}: {drawn.standing}{tier}."
