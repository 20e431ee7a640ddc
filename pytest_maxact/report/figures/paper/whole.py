"""Figures of the paper about checkpoints as a whole: how they were measured, which meet the massive-activation
criterion, their maxima, tiers and scaling.
"""

from collections.abc import Iterable

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.judge.figures.published import published_checkpoints
from pytest_maxact.judge.figures.scale import TIERS
from pytest_maxact.report.figures.build import (
    Row,
    apart,
    chart_of,
    lean,
    logarithmic,
    made,
    number,
    positive,
    roles,
    said,
    tooltips,
)
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.paper.points import COLOURS, OURS, SOURCE, everyone, own_row, own_words
from pytest_maxact.report.figures.theme import BREACH, GREY, INK, OWN

_TWINS = ("Qwen2.5-1.5B-Instruct",)
"""Their points lie on those of others, whose names would be written over."""
_MAGNITUDE = 100
"""What an entry has to exceed by the criterion."""
_LEAST = 100
"""Where the lines of M begin."""


def overview(drawn: Drawn) -> Figure:
    import altair as alt

    boxes = (
        ("text", f"{drawn.samples} samples", f"{drawn.tokens} tokens"),
        ("model", drawn.model, f"{drawn.layers} layers x {drawn.hidden_size}"),
        ("hooked pass", f"{len(drawn.cells)} sites", "no padding"),
        ("histograms", "every magnitude", "non-finite apart"),
        ("M", said(drawn.m), drawn.carrier),
    )
    rows = [
        {"left": 10 * place, "right": 10 * place + 8, "middle": 10 * place + 4, "title": title, "one": one, "two": two}
        for place, (title, one, two) in enumerate(boxes)
    ]
    arrows = [{"at": 10 * place + 9, "text": "→"} for place in range(len(boxes) - 1)]
    scale = alt.Scale(domain=[-0.5, 48.5], nice=False)
    words = chart_of().encode(x=alt.X("middle:Q", axis=None, scale=scale))
    chart = alt.layer(
        chart_of()
        .mark_rect(fillOpacity=0.12, fill=OWN, stroke=OWN, cornerRadius=6)
        .encode(x=alt.X("left:Q", axis=None, scale=scale), x2="right:Q", y=alt.value(6), y2=alt.value(94)),
        words.mark_text(fontSize=13, fontWeight="bold").encode(y=alt.value(28), text="title:N"),
        words.mark_text(fontSize=11, limit=98).encode(y=alt.value(52), text="one:N"),
        words.mark_text(fontSize=11, limit=98).encode(y=alt.value(72), text="two:N"),
        chart_of("arrows").mark_text(fontSize=18).encode(x=alt.X("at:Q"), y=alt.value(50), text="text:N"),
    )
    caption = "How the figures come about: text runs through the hooked model, and every magnitude is counted."
    return made("paper-01-overview", "How are maximum activations measured?", caption, own_words(drawn), chart, 100,
                rows, arrows=arrows)  # fmt: skip


def criterion(drawn: Drawn) -> Figure:
    import altair as alt

    rows: list[Row] = []
    for one in published_checkpoints():
        value, ratio = _nearest(zip(one.maxima["hidden"], one.massive_ratios, strict=True))
        role = "meets the criterion" if any(one.massive_tokens) else "does not"
        rows.append({"model": one.name, "role": role, "ratio": positive(ratio), "value": value})
    points = [point for point in drawn.stream.points if point.layer is not None and number(point.value) is not None]
    if points:
        value, ratio = _nearest((point.value, point.ratio) for point in points)
        rows.append({"model": drawn.model, "role": OURS, "ratio": positive(ratio), "value": positive(value)})
    unnamed = {row["model"] for row in rows if row["role"] == "meets the criterion" or row["model"] in _TWINS}
    rows = [{**row, "label": "" if row["model"] in unnamed else row["model"]} for row in rows]
    lines = [{"ratio": 1000, "name": "1000 x the token's median"}, {"value": 100, "name": "100"}]
    hints = tooltips(model="model", value="largest residual", ratio="over its token's median", role="")
    base = chart_of().transform_filter("isValid(datum.ratio)")
    marks = base.encode(
        x=logarithmic("ratio", "entry over its token's median", along="x"),
        y=logarithmic("value", "largest residual magnitude of that layer"),
        color=roles({"meets the criterion": GREY, "does not": BREACH, "this model": OWN}),
        tooltip=hints,
    )
    names = base.transform_filter("isValid(datum.label)").encode(x="ratio:Q", y="value:Q", text="label:N")
    chart = alt.layer(
        chart_of("lines").transform_filter("isValid(datum.ratio)").mark_rule(strokeDash=[4, 3]).encode(x="ratio:Q"),
        chart_of("lines").transform_filter("isValid(datum.value)").mark_rule(strokeDash=[4, 3]).encode(y="value:Q"),
        marks.mark_point(filled=True, size=70, opacity=0.9),
        names.transform_filter(alt.datum.role != OURS).mark_text(align="right", dx=-8, fontSize=11),
        names.transform_filter(alt.datum.role == OURS).mark_text(align="left", dx=8, fontSize=11),
    )
    failing = [row["model"] for row in rows if row["role"] == "does not"]
    caption = (
        "The criterion of Sun et al. (2024) asks for an entry above 100 and above 1000 times its token's median"
        " (dashed): the layer above 100 that comes nearest to it. Checkpoints fail it by being suppressed, or large but"
        f" not locally sparse. {SOURCE}"
    )
    words = f"Do not meet it: {', '.join(failing)}. {own_words(drawn)}"
    return made("paper-02-criterion", "Who meets the massive-activation criterion?", caption, words, chart, 360, rows,
                rows=lean(rows, "model", "role", "ratio", "value", "label"), lines=lines)  # fmt: skip


def _nearest(layers: Iterable[tuple[float, float | None]]) -> tuple[float, float | None]:
    """The largest magnitude and the ratio of the layer that comes nearest to the criterion: of those above 100 the one
    with the largest ratio; of a model that has none, the one with the largest magnitude.
    """
    return max(layers, key=lambda one: (one[0] > _MAGNITUDE, (one[1] or 0.0) if one[0] > _MAGNITUDE else one[0]))


def maxima(drawn: Drawn) -> Figure:
    import altair as alt

    rows = sorted(everyone(drawn), key=lambda row: row["value"] or float("inf"))
    rows = [
        {**row, "label": f"» {row['model']}" if row["role"] == OURS else row["model"], "least": _LEAST} for row in rows
    ]
    order = [row["label"] for row in rows]
    y = alt.Y("label:N", sort=order, title=None, axis=alt.Axis(labelLimit=200))
    base = chart_of().encode(y=y, color=roles(COLOURS), tooltip=tooltips(model="model", shown="M"))
    x = logarithmic("value", "M", along="x")
    chart = alt.layer(
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(x=alt.X("least:Q"), x2="value:Q"),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=x),
        chart_of().mark_text(align="left", dx=8, fontSize=11).encode(x=x, y=y, text="shown:N"),
    )
    return made("paper-06-maxima", "How large is M?", f"M of every checkpoint, logarithmic. {SOURCE}",
                own_words(drawn), chart, 17 * len(rows), rows)  # fmt: skip


def tiers(drawn: Drawn) -> Figure:
    import altair as alt

    rows = [
        {"model": row["model"], "role": row["role"], "value": row["value"], "shown": row["shown"], "tier": tier.of}
        for row in everyone(drawn)
        for tier in TIERS
        if row["value"] is not None and tier.low <= row["value"] <= tier.high
    ]
    ours = [own_row(drawn)] if positive(drawn.m) else []
    bands = [
        {"low": tier.low, "high": tier.high, "tier": tier.of, "span": f"{tier.low:g} to {tier.high:g}"}
        for tier in TIERS
    ]
    y = alt.Y("tier:N", sort=[tier.of for tier in TIERS], title=None, axis=alt.Axis(labelLimit=220))
    chart = alt.layer(
        chart_of("bands").mark_bar(height=22, color=GREY, opacity=0.3)
        .encode(x=logarithmic("low", "M", along="x"), x2="high:Q", y=y, tooltip=tooltips(tier="tier", span="from")),
        chart_of().mark_point(filled=True, size=70, opacity=0.9)
        .encode(x=alt.X("value:Q"), y=y, color=roles(COLOURS), tooltip=tooltips(model="model", shown="M")),
        chart_of("ours").mark_rule(color=OWN, strokeWidth=2, strokeDash=[5, 4])
        .encode(x=alt.X("value:Q"), tooltip=tooltips(model="model", shown="M")),
        chart_of("ours").mark_text(align="left", dx=5, fontSize=11, baseline="top")
        .encode(x=alt.X("value:Q"), y=alt.value(2), text="model:N"),
    )  # fmt: skip
    caption = f"The tiers of deployment difficulty, as ranges that were observed; the model itself dashed. {SOURCE}"
    tier = next((tier.of for tier in TIERS if tier.low <= drawn.m <= tier.high), "none of the tiers")
    return made("paper-13-tiers", "In which tier is it?", caption, f"{own_words(drawn)} In {tier}.", chart, 190, rows,
                bands=bands, ours=ours)  # fmt: skip


def scaling(drawn: Drawn) -> Figure:
    import altair as alt

    rows = everyone(drawn)
    many = {row["series"] for row in rows if sum(row["series"] == one["series"] for one in rows) > 1}
    series = sorted(many)
    sizes = [row["size"] for row in rows]
    domain = [min(sizes) * 0.8, max(sizes) * 1.25]
    x, y = logarithmic("size", "layers x hidden size", along="x", domain=domain), logarithmic("value", "M")
    hints = tooltips(model="model", shown="M", series="series")
    of_series = chart_of().transform_filter(alt.FieldOneOfPredicate(field="series", oneOf=series))
    chart = alt.layer(
        of_series.mark_line(strokeWidth=1.5).encode(x=x, y=y, tooltip=hints, **apart("series", series)),
        of_series.mark_point(filled=True, size=60, opacity=1)
        .encode(x=x, y=y, tooltip=hints, **apart("series", series)),
        chart_of("ours").mark_point(filled=True, size=190, shape="diamond", style=INK, opacity=1)
        .encode(x=x, y=y, tooltip=hints),
    )  # fmt: skip
    caption = (
        "M against the size of a checkpoint, series by series; the diamond is the model itself. Size stands for depth"
        f" times width, which every checkpoint states. {SOURCE}"
    )
    return made("paper-05-scaling", "Does M grow with size within a family?", caption, own_words(drawn), chart, 340,
                rows, ours=[own_row(drawn)])  # fmt: skip
