"""A series over training steps: how M and the maxima of each kind of site grow."""

from typing import TYPE_CHECKING

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.judge.figures.series import SeriesDrawn
from pytest_maxact.report.figures.build import (
    apart,
    broken_points,
    chart_of,
    exact_axis,
    listed,
    logarithmic,
    made,
    number,
    positive,
    said,
    tooltips,
    whole_axis,
    zoom_along,
)
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.theme import BREACH, INK

if TYPE_CHECKING:
    import altair as alt

NAME, TITLE = "series", "How do the largest activations grow over training?"
_CAPTION = (
    "M, as a thick line, and the largest magnitude of each kind of site over all layers, checkpoint by checkpoint, on a"
    " logarithmic axis. A cross at the upper edge: entries that are NaN or infinite."
)


def series(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    found = drawn.series
    if found is None:
        return LeftOut(name=NAME, title=TITLE, reason="it is one checkpoint, and no series of them")
    rows = [
        {
            "checkpoint": one.checkpoint,
            "step": one.step,
            "at": one.step if found.stepped else one.place + 1,
            "kind": one.kind,
            "value": positive(one.value),
            "shown": said(one.value),
            "broken": number(one.value) is None,
        }
        for one in found.points
    ]
    kinds = [kind for kind in dict.fromkeys(one.kind for one in found.points) if kind != "M"]
    x = steps(found)
    hints = tooltips(checkpoint="checkpoint", step="step", kind="of", shown="largest")
    base = chart_of().encode(x=x, y=logarithmic("value", "largest magnitude"), tooltip=hints)
    of_kind = base.transform_filter("datum.kind !== 'M'").encode(**apart("kind", kinds))
    whole = base.transform_filter("datum.kind === 'M'")
    chart = alt.layer(
        whole.mark_line(strokeWidth=6, opacity=0.35, style=INK),
        of_kind.mark_line(strokeWidth=1.8).add_params(zoom_along("x", "y")),
        of_kind.mark_point(filled=True, size=40, opacity=1),
        broken_points(chart_of(), BREACH, x=x, tooltip=hints),
    )
    return made(NAME, TITLE, _CAPTION, _alternative(found), chart, 320, rows)


def steps(found: SeriesDrawn) -> "alt.X":
    """An axis of training steps, or of checkpoints that do not tell theirs."""
    import altair as alt

    return alt.X(
        "at:Q", title="training step" if found.stepped else "checkpoint",
        scale=alt.Scale(zero=False, nice=False, padding=12),
        axis=exact_axis("~s", tickMinStep=1, tickCount=8) if found.stepped else whole_axis(tickCount=8),
    )  # fmt: skip


def _alternative(found: SeriesDrawn) -> str:
    m = [one for one in found.points if one.kind == "M"]
    ends = f"M goes from {said(m[0].value)} at {m[0].checkpoint} to {said(m[-1].value)} at {m[-1].checkpoint}"
    broken = [one.checkpoint for one in m if number(one.value) is None]
    growth = [f"{kind} {value:+.3g}" for kind, value in found.growth if number(value) is not None]
    told = f" Growth per {found.unit} steps: {', '.join(growth)}." if growth else ""
    return f"{len(m)} checkpoints; {ends}. Not finite: {listed(broken)}.{told}"
