"""An artifact in low bits: what a look at its tensors found, and how far its weights and predictions are from those of
its source.
"""

import math

from pytest_maxact.judge.figures.artifact import SourceDrawn
from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.numbers.counted import counted
from pytest_maxact.report.figures.build import (
    broken_points,
    chart_of,
    choice_of,
    decibels,
    exact_axis,
    layer_axis,
    lean,
    made,
    number,
    roles,
    said,
    tooltips,
    whole_axis,
    zoom_along,
)
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.theme import BREACH, GREY, ORANGE, OWN

LINT, LINT_TITLE = "lint", "What was found of the artifact's tensors?"
SOURCE, SOURCE_TITLE = "source", "How far are the artifact's weights from its source?"
PREDICTIONS, PREDICTIONS_TITLE = "predictions", "How far are the artifact's predictions from its source?"


def lint(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    found = drawn.artifact.lint
    if not found:
        reason = (
            f"nothing was found of {drawn.artifact.tensors} tensors ({drawn.artifact.form})"
            if found is not None
            else "weights in 16 bits have no scales and codes to look at, or the Record did not look"
        )
        return LeftOut(name=LINT, title=LINT_TITLE, reason=reason)
    rows = [
        {
            "code": one.code,
            "count": one.count,
            "means": one.means,
            "first": one.first,
            "role": "remark" if one.remark else "finding",
        }
        for one in found
    ]
    order = [one.code for one in found]
    base = chart_of().encode(
        y=alt.Y("code:N", sort=order, title=None, axis=alt.Axis(labelLimit=200)),
        x=alt.X("count:Q", title="findings", axis=whole_axis()),
        tooltip=tooltips(code="kind", count="findings", means="which means", first="first"),
    )
    chart = alt.layer(
        base.mark_bar(height=14).encode(color=roles({"finding": BREACH, "remark": GREY})),
        base.transform_calculate(label="datum.count + (datum.role === 'remark' ? ', a remark' : '')")
        .mark_text(align="left", dx=4)
        .encode(text="label:N"),
    )
    words = "; ".join(f"{one.code}: {one.count}, the first {one.first}" for one in found)
    caption = f"How often each kind of finding was made in {drawn.artifact.tensors} tensors. Remarks fail nothing."
    return made(LINT, LINT_TITLE, caption, f"{words}.", chart, max(60, 24 * len(rows)), rows)


def source(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    found = drawn.artifact.source
    if found is None or not found.weights:
        reason = "it was compared with no source" if found is None else "no weight in low bits was compared"
        return LeftOut(name=SOURCE, title=SOURCE_TITLE, reason=reason)
    rows = [
        {
            "weight": one.weight,
            "layer": drawn.layers if one.layer is None else one.layer,
            "form": one.form,
            "sqnr_db": number(one.sqnr_db, 5),
            "expected_db": number(one.expected_db, 5),
            "shown": decibels(one.sqnr_db),
            "expected": decibels(one.expected_db),
            "role": "artifact",
            "broken": math.isnan(one.sqnr_db) or None,
        }
        for one in found.weights
    ]
    x = layer_axis("layer", drawn.layers)
    hints = tooltips(weight="weight", form="form", shown="SQNR", expected="rounding gives")
    y = alt.Y("sqnr_db:Q", title="SQNR against the source, dB", scale=alt.Scale(zero=False, padding=8))
    base = chart_of().encode(x=x, tooltip=hints)
    colour = roles({"artifact": OWN, "what rounding gives": ORANGE})
    rounded = base.transform_calculate(role="'what rounding gives'")
    chart = alt.layer(
        base.mark_rule(color=GREY, opacity=0.6).encode(y=y, y2="expected_db:Q"),
        rounded.mark_tick(thickness=2.5, size=12, orient="horizontal").encode(y="expected_db:Q", color=colour),
        base.mark_point(filled=True, size=40, opacity=0.9).encode(y=y, color=colour).add_params(zoom_along("x", "y")),
        broken_points(chart_of(), BREACH, x=x, tooltip=hints),
    )
    caption = (
        "SQNR of weights against those of the source, and what rounding the source to the same form gives; a line"
        " between them is what was lost beyond rounding. Weights outside layers stand at the right. Of many weights,"
        " those furthest from rounding. What loses nothing has no place on the axis, and stands in the data."
    )
    return made(SOURCE, SOURCE_TITLE, caption, _weights(found), chart, 280, rows, rows=lean(rows, *rows[0]))


def _weights(found: SourceDrawn) -> str:
    known = [one for one in found.weights if not math.isnan(one.sqnr_db)]
    worst = max(known, key=lambda one: one.expected_db - one.sqnr_db, default=None)
    lost = (
        f", furthest from rounding {worst.weight}: {worst.sqnr_db:.2f} dB for {worst.expected_db:.2f} dB"
        if worst
        else ""
    )
    return (
        f"{counted(found.compared, 'weight')} in low bits compared with {found.name}{lost}. Tensors in 16 bits that"
        f" differ: {found.changed}; missing: {found.missing}; beyond the source: {found.extra}."
    )


def predictions(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    found = drawn.artifact.source
    if found is None or found.predictions is None or not found.predictions.confidence:
        why = found.unpredicted if found and found.unpredicted else "no predictions were compared with a source"
        return LeftOut(name=PREDICTIONS, title=PREDICTIONS_TITLE, reason=why)
    quantities = ("mean_kl", "top1_agreement")
    rows = [
        {
            "place": place,
            "quantity": quantity,
            "confidence": f"{one.low:.0%} to {one.high:.0%}",
            "tokens": one.tokens,
            "value": number(getattr(one, quantity).value),
            "low": number(getattr(one, quantity).low),
            "high": number(getattr(one, quantity).high),
            "shown": said(getattr(one, quantity).value),
        }
        for place, quantity in enumerate(quantities)
        for one in found.predictions.confidence
        if one.tokens
    ]
    chosen = choice_of("quantity", ["KL divergence, nats", "top-1 agreement"], "show")
    base = (
        chart_of()
        .transform_filter(alt.datum.place == chosen)
        .encode(
            x=alt.X(
                "confidence:N",
                sort=None,
                title="probability of the source's top-1",
                axis=alt.Axis(labelAngle=-20),
            ),
            tooltip=tooltips(confidence="source's confidence", tokens="tokens", shown="value", low="from", high="to"),
        )
    )
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False, padding=12), axis=exact_axis(tickCount=6))
    chart = alt.layer(
        base.transform_filter("isValid(datum.low) && isValid(datum.high)").mark_rule(color=OWN, strokeWidth=2)
        .encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(filled=True, size=80, color=OWN, opacity=1).encode(y=y)
        .add_params(chosen),
    )  # fmt: skip
    figures = ", ".join(f"{name} {said(one.value)}" for name, one in found.predictions.figures.items())
    words = f"Against {found.name}, on {found.predictions.tokens} tokens: {figures}."
    caption = (
        "Distance of the next-token distribution from the source's, by how sure the source is, with 95 % intervals over"
        " samples; without a line where there are too few of them."
    )
    return made(PREDICTIONS, PREDICTIONS_TITLE, caption, words, chart, 260, rows)
