"""Massive activations: the largest entries of the residual stream by layer and channel, with the tokens that carry
them.
"""

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.judge.figures.massive import LargeEntry
from pytest_maxact.report.figures.build import (
    chart_of,
    layer_axis,
    lean,
    listed,
    made,
    number,
    positive,
    roles,
    said,
    tooltips,
    zoom_along,
)
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.theme import BREACH, GREY

NAME, TITLE = "massive", "Which channels and tokens carry the largest activations?"
_CAPTION = (
    "The ten largest entries of the residual stream of every layer, by channel, the tokens that carry them beside it;"
    " the larger the mark, the larger the entry. A diamond in colour: layers where a token meets the"
    " massive-activation criterion (above 100, and above 1000 times its median, Sun et al. 2024)."
)
_CHANNELS = 24
_TOKENS = 3
_OTHERS = "other channels"
_SHAPES = ["diamond", "circle"]


def massive(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    if not any(one.value for one in drawn.large):
        return LeftOut(name=NAME, title=TITLE, reason="the residual stream holds no finite entry but zeros")
    labels = _labels(drawn.large)
    rows = [
        {
            "site": one.site,
            "depth": one.depth,
            "channel": one.channel,
            "label": labels.get(one.channel, _OTHERS),
            "value": number(one.value),
            "size": positive(abs(one.value)),
            "shown": said(one.value),
            "token": one.token,
            "entries": one.entries,
            "sample": one.sample,
            "position": one.position,
            "quote": one.quote,
            "role": "criterion met" if one.massive else "not met",
            "tokens": one.tokens,
        }
        for one in drawn.large
    ]
    order = [*labels.values(), *([_OTHERS] if any(row["label"] == _OTHERS for row in rows) else [])]
    size = alt.Size(
        "size:Q", title="magnitude", scale=alt.Scale(type="log", range=[12, 160]),
        legend=alt.Legend(format="~s", tickCount=4, symbolFillColor=GREY, symbolStrokeColor=GREY),
    )  # fmt: skip
    hints = tooltips(
        site="site", channel="channel", shown="value", token="token", entries="entries like it", sample="sample",
        position="position", quote="text", tokens="tokens that meet the criterion",
    )  # fmt: skip
    chart = (
        chart_of()
        .mark_point(filled=True, opacity=0.75)
        .encode(
            x=layer_axis("depth", drawn.layers),
            y=alt.Y("label:N", sort=order, title="channel and its tokens", axis=alt.Axis(labelLimit=190, grid=True)),
            size=size,
            color=roles({"criterion met": BREACH, "not met": GREY}),
            shape=alt.Shape("role:N", title=None, scale=alt.Scale(domain=["criterion met", "not met"], range=_SHAPES)),
            tooltip=hints,
        )
        .add_params(zoom_along("x"))
    )
    height = max(90, 18 * len(order))
    return made(NAME, TITLE, _CAPTION, _alternative(drawn), chart, height, rows, rows=lean(rows, *rows[0]))


def _labels(entries: tuple[LargeEntry, ...]) -> dict[int, str]:
    """Of the channels with the largest entries, largest first: each with the tokens of its largest."""
    found: dict[int, list[LargeEntry]] = {}
    for one in sorted(entries, key=lambda one: -abs(one.value)):
        found.setdefault(one.channel, []).append(one)
    return {
        channel: f"{channel}  {' '.join(list(dict.fromkeys(_quoted(one.token[:16]) for one in ones))[:_TOKENS])}"
        for channel, ones in list(found.items())[:_CHANNELS]
    }


def _quoted(token: str) -> str:
    """What cannot be printed of it is spelled out already."""
    return f"'{token}'"


def _alternative(drawn: Drawn) -> str:
    top = max(drawn.large, key=lambda one: abs(one.value))
    layers = list(dict.fromkeys(one.site for one in drawn.large if one.massive))
    met = (
        f"The criterion is met in {len(layers)} sites: {listed(layers)}." if layers else "No layer meets the criterion."
    )
    channels = sorted({one.channel for one in drawn.large if one.massive})
    where = f" Channels of the largest entries there: {listed([str(one) for one in channels])}." if channels else ""
    place = f"{top.site}, channel {top.channel}, token {_quoted(top.token)}"
    return f"The largest entry is {said(top.value)} at {place}. {met}{where}"
