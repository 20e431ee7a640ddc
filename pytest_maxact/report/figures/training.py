"""A series inside of its checkpoints: the residual stream by layer, the channels of its largest entries, and what low
bits cost, over training steps.
"""

from collections.abc import Sequence
from typing import Any

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.judge.figures.series import SeriesDrawn
from pytest_maxact.judge.figures.training import TrainingPoint
from pytest_maxact.report.figures.build import (
    apart,
    broken_points,
    chart_of,
    layer_axis,
    listed,
    logarithmic,
    made,
    number,
    positive,
    said,
    tooltips,
    zoom_along,
)
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.series import steps
from pytest_maxact.report.figures.theme import BREACH

_LAYERS = ("series_layers", "In which layers does it grow over training?")
_CHANNELS = ("series_channels", "Which channels grow over training?")
_SCHEMES = ("series_low_bits", "What do low bits cost over training?")
_NO_SERIES = "it is one checkpoint, and no series of them"


def training(drawn: Drawn) -> list[Figure | LeftOut]:
    """One for each of the three."""
    found = drawn.series
    if found is None:
        return [LeftOut(name=name, title=title, reason=_NO_SERIES) for name, title in (_LAYERS, _CHANNELS, _SCHEMES)]
    return [_layers(found, drawn.layers), _channels(found), _schemes(found)]


def _rows(points: Sequence[TrainingPoint], stepped: bool) -> list[dict[str, Any]]:
    return [
        {
            "checkpoint": one.checkpoint,
            "step": one.step,
            "at": one.step if stepped else one.place + 1,
            "of": one.of,
            "depth": one.depth,
            "site": one.site,
            "value": positive(one.value),
            "shown": said(one.value),
            "broken": number(one.value) is None,
            "massive": "met" if one.massive else "not met",
        }
        for one in points
    ]


def _layers(found: SeriesDrawn, layers: int) -> Figure:
    import altair as alt

    rows = _rows(found.training.layers, found.stepped)
    colour = alt.Color(
        "at:Q", title="training step" if found.stepped else "checkpoint", scale=alt.Scale(scheme="viridis", zero=False),
        legend=alt.Legend(format="~s" if found.stepped else "d", tickMinStep=1),
    )  # fmt: skip
    hints = tooltips(checkpoint="checkpoint", site="site", shown="largest", massive="massive-activation criterion")
    base = chart_of().encode(
        x=layer_axis("depth", layers), y=logarithmic("value", "largest magnitude"), color=colour, tooltip=hints
    )
    chart = alt.layer(
        base.mark_line(strokeWidth=1.8).encode(detail="checkpoint:N").add_params(zoom_along("x", "y")),
        base.mark_point(filled=True, size=30, opacity=1),
        broken_points(chart_of(), BREACH, x=layer_axis("depth", layers), tooltip=hints),
    )
    caption = (
        "The largest magnitude of the residual stream after every layer, a line for each checkpoint, later ones"
        " lighter. A cross at the upper edge: entries that are NaN or infinite."
    )
    ends = [max((one for one in found.training.layers if one.place == place), key=lambda one: _rank(one.value))
            for place in (0, len(found.checkpoints) - 1)]  # fmt: skip
    first, last = ends
    words = (
        f"{len(found.checkpoints)} checkpoints; the largest of {first.checkpoint} is {said(first.value)} at"
        f" {first.site}, of {last.checkpoint} {said(last.value)} at {last.site}."
    )
    return made(*_LAYERS, caption, words, chart, 320, rows)


def _channels(found: SeriesDrawn) -> Figure | LeftOut:
    if not any(one.value for one in found.training.channels):
        return LeftOut(
            name=_CHANNELS[0], title=_CHANNELS[1], reason="the residual stream holds no finite entry but zeros"
        )
    rows = _rows(found.training.channels, found.stepped)
    caption = (
        "Of the ten largest entries of the residual stream after every layer, which a Record keeps, the largest in each"
        " of the channels that hold the largest. A checkpoint has no point where a channel is not among them; what ten"
        " others of its layer exceed is not counted."
    )
    hints = tooltips(
        checkpoint="checkpoint", of="channel", site="site", shown="largest", massive="massive-activation criterion"
    )
    chart = _lines(found, rows, "channel", logarithmic("value", "largest magnitude"), hints)
    return made(*_CHANNELS, caption, _ends(found, found.training.channels, "channel ", ""), chart, 300, rows)


def _schemes(found: SeriesDrawn) -> Figure | LeftOut:
    import altair as alt

    points = found.training.schemes
    if not points:
        reason = "no Record of it has both splits, or was measured under a scheme"
        return LeftOut(name=_SCHEMES[0], title=_SCHEMES[1], reason=reason)
    rows = [{**row, "value": number(one.value)} for row, one in zip(_rows(points, found.stepped), points, strict=True)]
    caption = (
        "The lowest SQNR of all sites under each scheme that was measured, and of INT-8 per tensor at the site that"
        " carries M; above, less is lost. A cross at the upper edge: entries that are NaN or infinite, or nothing lost."
    )
    y = alt.Y("value:Q", title="lowest SQNR in dB", scale=alt.Scale(zero=False))
    hints = tooltips(checkpoint="checkpoint", of="scheme", site="lowest at", shown="SQNR in dB")
    chart = _lines(found, rows, None, y, hints)
    return made(*_SCHEMES, caption, _ends(found, points, "", " dB"), chart, 300, rows)


def _lines(found: SeriesDrawn, rows: Sequence[dict[str, Any]], title: str | None, y: Any, hints: Any) -> Any:
    """A line for each that is followed, told apart by colour and by the form of its points."""
    import altair as alt

    names = list(dict.fromkeys(row["of"] for row in rows))
    base = chart_of().encode(x=steps(found), y=y, tooltip=hints, **apart("of", names, title))
    return alt.layer(
        base.mark_line(strokeWidth=1.8).add_params(zoom_along("x", "y")),
        base.mark_point(filled=True, size=55, opacity=1),
        broken_points(chart_of(), BREACH, x=steps(found), tooltip=hints),
    )


def _ends(found: SeriesDrawn, points: Sequence[TrainingPoint], what: str, unit: str) -> str:
    """Of each from its first checkpoint to its last."""
    by_name: dict[str, list[TrainingPoint]] = {}
    for one in points:
        by_name.setdefault(one.of, []).append(one)
    whole = len(found.checkpoints)
    told = [f"{what}{name} {_from_to(own, unit, whole)}" for name, own in by_name.items()]
    return f"{whole} checkpoints: {listed(told)}."


def _from_to(own: Sequence[TrainingPoint], unit: str, whole: int) -> str:
    """Its ends, and at which checkpoints they are where these are not those of the series."""
    first, last = (said(one.value, unit) for one in (own[0], own[-1]))
    if len(own) == 1:
        return f"{first} at {own[0].checkpoint} alone"
    begins = f" at {own[0].checkpoint}" if own[0].place else ""
    ends = f" at {own[-1].checkpoint}" if own[-1].place < whole - 1 else ""
    return f"from {first}{begins} to {last}{ends}"


def _rank(value: float) -> float:
    return value if value == value else float("inf")
