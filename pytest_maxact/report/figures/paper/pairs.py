"""Figures of the paper that compare checkpoints: generations, mixtures of experts, vision, tuning, stages of training,
and the INT-8 check.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.judge.figures.published import published_int8
from pytest_maxact.report.figures.build import (
    Row,
    apart,
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
from pytest_maxact.report.figures.paper.points import (
    SOURCE,
    depth_axis,
    named_beside,
    named_checkpoint,
    own_row,
    own_words,
)
from pytest_maxact.report.figures.theme import GREEN, GREY, ORANGE, OWN, PURPLE

_GENERATIONS = {
    "Qwen2.5": ("Qwen", ("Qwen2.5-1.5B", "Qwen2.5-7B", "Qwen2.5-32B")),
    "Qwen3": ("Qwen", ("Qwen3-1.7B", "Qwen3-8B", "Qwen3-32B", "Qwen3-30B-A3B")),
    "Qwen3.5": ("Qwen", ("Qwen3.5-0.8B", "Qwen3.5-9B", "Qwen3.5-27B", "Qwen3.5-35B-A3B")),
    "Gemma 1": ("Gemma", ("gemma-2b",)),
    "Gemma 2": ("Gemma", ("gemma-2-9b", "gemma-2-27b")),
    "Gemma 3": ("Gemma", ("gemma-3-4b-it", "gemma-3-27b-it")),
}
_STAGES = {5: "Ling-mini-5T", 10: "Ling-mini-10T", 15: "Ling-mini-15T", 20: "Ling-mini-20T"}
_LAST = 22
"""Trillions of tokens, where the axis of stages ends."""
_TUNED = ("Qwen2.5-1.5B", "Qwen2.5-7B", "Qwen2.5-32B")
_LINE = 1.35
"""Times as large a magnitude is, that stands a line of text further up."""
_ROOM = 2.0
"""Times so much beyond the outermost point an axis goes on, for what is written there."""
_ACCEPTABLE = 20.0
"""dB of SQNR that the paper calls acceptable."""


def generations(drawn: Drawn) -> Figure:
    import altair as alt

    rows = [
        {"generation": generation, "role": family, "model": name, "value": one.max_abs, "shown": said(one.max_abs)}
        for generation, (family, names) in _GENERATIONS.items()
        for name in names
        for one in [named_checkpoint(name)]
    ]
    x = alt.X("generation:N", sort=list(_GENERATIONS), title=None, axis=alt.Axis(labelAngle=0))
    marks = chart_of().encode(
        x=x, y=logarithmic("value", "M"), color=roles({"Qwen": ORANGE, "Gemma": PURPLE}),
        tooltip=tooltips(model="model", shown="M"),
    )  # fmt: skip
    beside = [
        row for name in _GENERATIONS for row in named_beside((one for one in rows if one["generation"] == name), _LINE)
    ]
    names = chart_of("beside").mark_text(align="left", dx=8, fontSize=11).encode(x=x, y="beside:Q", text="model:N")
    chart = alt.layer(marks.mark_point(filled=True, size=80, opacity=0.9), names,
                      *_own(alt.XDatum(list(_GENERATIONS)[-1])))  # fmt: skip
    caption = f"M by generation; the model itself as a dashed line. gemma-2b is of the first generation. {SOURCE}"
    return made("paper-07-generations", "Do newer generations have larger activations?", caption, own_words(drawn),
                chart, 360, rows, ours=[own_row(drawn)], beside=beside)  # fmt: skip


def experts(drawn: Drawn) -> Figure:
    pairs = (("Qwen3-32B", "Qwen3-30B-A3B"), ("Qwen3.5-27B", "Qwen3.5-35B-A3B"))
    caption = (
        "M of checkpoints of one generation and scale, dense and as mixtures of experts; the model itself as a dashed"
        f" line. {SOURCE}"
    )
    return _paired("paper-08-experts", "Do mixtures of experts have smaller activations?", caption, drawn, pairs,
                   ("dense", "mixture of experts"))  # fmt: skip


def vision(drawn: Drawn) -> Figure:
    pairs = (("Qwen2.5-7B", "Qwen2.5-VL-7B"), ("Qwen2.5-32B", "Qwen2.5-VL-32B"))
    caption = f"M of text checkpoints and of the vision-language ones made of them; the model itself dashed. {SOURCE}"
    return _paired("paper-09-vision", "What does vision-language training change?", caption, drawn, pairs,
                   ("text", "vision-language"))  # fmt: skip


def _paired(
    name: str, title: str, caption: str, drawn: Drawn, pairs: Sequence[tuple[str, str]], called: tuple[str, str]
) -> Figure:
    import altair as alt

    rows: list[Row] = []
    spans: list[Row] = []
    for names in pairs:
        ones = [named_checkpoint(one) for one in names]
        factor = ones[0].max_abs / ones[1].max_abs
        pair = f"{names[0]} and {names[1]}"
        spans.append({"pair": pair, "low": ones[1].max_abs, "high": ones[0].max_abs, "factor": f"{factor:.3g} x"})
        rows += [
            {"pair": pair, "role": role, "model": one.name, "value": one.max_abs, "shown": said(one.max_abs)}
            for one, role in zip(ones, called, strict=True)
        ]
    y = alt.Y("pair:N", sort=[span["pair"] for span in spans], title=None, axis=alt.Axis(labelLimit=260))
    colour = roles({called[0]: GREEN, called[1]: ORANGE})
    hints = tooltips(model="model", shown="M")
    edges = [row["value"] for row in (*rows, own_row(drawn)) if row["value"]]
    x = logarithmic("value", "M", along="x", domain=[min(edges) / _ROOM, max(edges) * _ROOM])
    ours = chart_of("ours").encode(x=x, tooltip=hints)
    chart = alt.layer(
        chart_of("spans").mark_rule(strokeWidth=2, color=GREY).encode(x=alt.X("low:Q"), x2="high:Q", y=y),
        chart_of().mark_point(filled=True, size=130, opacity=1).encode(x=x, y=y, color=colour, tooltip=hints),
        _beside(alt.datum.role == called[0], "left", 10).encode(x=x, y=y, text="shown:N"),
        _beside(alt.datum.role == called[1], "right", -10).encode(x=x, y=y, text="shown:N"),
        ours.mark_rule(strokeDash=[5, 4], color=OWN, strokeWidth=2),
        ours.mark_text(align="left", dx=4, fontSize=11, baseline="top").encode(y=alt.value(2), text="model:N"),
    )
    factors = ", ".join(f"{span['pair']}: {span['factor']}" for span in spans)
    return made(name, title, caption, f"{factors}. {own_words(drawn)}", chart, 70 * len(pairs), rows, spans=spans,
                ours=[own_row(drawn)])  # fmt: skip


def _beside(which: Any, align: Literal["left", "right"], dx: int) -> Any:
    """Figures at the outer side of their points, clear of what lies between."""
    return chart_of().transform_filter(which).mark_text(align=align, dx=dx, fontSize=11)


def tuning(drawn: Drawn) -> Figure:
    import altair as alt

    rows: list[Row] = []
    for name in _TUNED:
        base, tuned = named_checkpoint(name), named_checkpoint(f"{name}-Instruct")
        pairs = zip(base.maxima["hidden"], tuned.maxima["hidden"], strict=True)
        rows += [_changed(f"{name} to Instruct", layer, base.layers, a, b) for layer, (a, b) in enumerate(pairs)]
    own = [
        _changed(f"{one.name} to this model", change.depth, drawn.layers, change.before, change.after)
        for one in drawn.against
        for change in one.changes
        if change.kind == "hidden"
    ]
    names = list(dict.fromkeys(row["role"] for row in (*rows, *own)))
    colours = [ORANGE, GREEN, PURPLE, *([OWN] * len(names))][: len(names)]
    values = [row["value"] for row in (*rows, *own) if row["value"] is not None]
    domain = [min(*values, 0.5) * 0.8, max(*values, 2.0) * 1.25]
    even = chart_of("even").mark_rule(strokeDash=[4, 3]).encode(y="at:Q")
    lines = (
        chart_of()
        .mark_line(strokeWidth=2)
        .encode(
            x=depth_axis(),
            y=logarithmic("value", "after over before", domain=domain),
            color=alt.Color("role:N", title=None, scale=alt.Scale(domain=names, range=colours)),
            tooltip=tooltips(role="", layer="layer", shown="factor"),
        )
    )
    compared = "" if own else " It was compared with no baseline, so it has no line here."
    caption = (
        "The residual maximum after instruction tuning over that before, layer by layer; of the model itself over its"
        f" baseline. {SOURCE}"
    )
    return made("paper-10-tuning", "What does instruction tuning change?", caption, own_words(drawn) + compared,
                alt.layer(even, lines), 300, (*rows, *own), even=[{"at": 1}])  # fmt: skip


def _changed(role: str, layer: int, layers: int, before: float, after: float) -> Row:
    factor = after / before if before and number(before) and number(after) else None
    return {
        "role": role,
        "layer": layer,
        "depth": number((layer + 1) / layers, 4),
        "value": positive(factor),
        "shown": said(factor),
    }


def stages(drawn: Drawn) -> Figure:
    import altair as alt

    rows = [
        {"model": name, "at": trillions, "value": one.max_abs, "shown": said(one.max_abs)}
        for trillions, name in _STAGES.items()
        for one in [named_checkpoint(name)]
    ]
    base = chart_of().encode(
        x=alt.X("at:Q", title="tokens of training, trillions", scale=alt.Scale(domain=[0, _LAST])),
        y=logarithmic("value", "M"),
        tooltip=tooltips(model="model", shown="M"),
    )
    chart = alt.layer(
        base.mark_line(color=ORANGE, strokeWidth=2),
        base.mark_point(color=ORANGE, filled=True, size=80, opacity=1),
        base.mark_text(align="left", dx=8, dy=8, fontSize=11).encode(text="model:N"),
        *_own(alt.XDatum(_LAST)),
    )
    series = [point for point in drawn.series.points if point.kind == "M"] if drawn.series else []
    own = ", ".join(f"{point.checkpoint} {said(point.value)}" for point in series)
    caption = f"M over stages of one training run; the model itself as a dashed line. {SOURCE}"
    words = f"{own_words(drawn)}{f' Over its own steps: {own}.' if own else ''}"
    return made("paper-11-stages", "Does M grow as training goes on?", caption, words, chart, 300, rows,
                ours=[own_row(drawn)])  # fmt: skip


def int8(drawn: Drawn) -> Figure:
    import altair as alt

    rows: list[Row] = [
        {
            "model": one.model,
            "role": one.policy,
            "site": one.site,
            "value": number(one.sqnr_db),
            "clipped": one.clip_rate,
        }
        for one in sorted(published_int8(), key=lambda one: one.sqnr_db)
    ]
    order = list(dict.fromkeys(row["model"] for row in rows))
    own = f"» {drawn.model}"
    rows += [
        {
            "model": own,
            "role": row.scheme.removeprefix("INT-8 "),
            "site": row.site,
            "value": number(row.sqnr_db),
            "clipped": number(row.clipped),
        }
        for row in drawn.low_bits
        if row.site == drawn.carrier and row.scheme.startswith("INT-8 ")
    ]
    base = chart_of().encode(
        y=alt.Y("model:N", sort=[own, *order], title=None, axis=alt.Axis(labelLimit=200)),
        yOffset=alt.YOffset("role:N", sort=["max_abs", "clip_q0.999"]),
        x=alt.X("value:Q", title="SQNR, dB, of the site that carries M"),
        **apart("role", ["max_abs", "clip_q0.999"]),
        tooltip=tooltips(model="model", role="policy", site="site", value="SQNR, dB", clipped="clipped"),
    )
    chart = alt.layer(
        chart_of("line").mark_rule(strokeDash=[4, 3]).encode(x="at:Q"),
        base.mark_point(filled=True, size=90, opacity=1),
    )
    ours = ", ".join(f"{row['role']} {said(row['value'])} dB" for row in rows if row["model"] == own)
    caption = f"INT-8 per tensor at the carrier of M, under both policies; dashed, 20 dB, acceptable. {SOURCE}"
    words = f"{drawn.model}: {ours or 'not finite'}."
    return made("paper-12-int8", "Does INT-8 hold at the site of M?", caption, words, chart,
                24 * (len(order) + 1), rows, line=[{"at": _ACCEPTABLE}])  # fmt: skip


def _own(at: Any) -> Sequence[Any]:
    """The model itself as a dashed line, with its name at that place along the other axis."""
    import altair as alt

    base = chart_of("ours").encode(y=alt.Y("value:Q"), tooltip=tooltips(model="model", shown="M"))
    return (
        base.mark_rule(strokeDash=[5, 4], color=OWN, strokeWidth=2),
        base.mark_text(align="right", dx=24, dy=-7, fontSize=11, color=OWN).encode(
            x=alt.value("width"), text="model:N"
        ),
    )
