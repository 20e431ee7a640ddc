"""What the paper's figures have in common: published checkpoints and the model itself as rows, and how either looks.

Source of all published figures: result files of arXiv 2605.15572 (Chen et al., May 2026, CC BY 4.0).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.judge.figures.published import PublishedCheckpoint, published_checkpoints
from pytest_maxact.report.figures.build import Row, exact_axis, number, positive, said
from pytest_maxact.report.figures.theme import GREY, OWN

if TYPE_CHECKING:
    import altair as alt

OURS, THEIRS = "this model", "published"
COLOURS = {OURS: OWN, THEIRS: GREY}
SOURCE = "Published figures: arXiv 2605.15572."


def depth_axis(field: str = "depth") -> "alt.X":
    """Depth from the first layer to the last, 1."""
    import altair as alt

    return alt.X(f"{field}:Q", title="normalised depth", scale=alt.Scale(domain=[0, 1]), axis=exact_axis(tickCount=10))


def named_beside(rows: Iterable[Row], least: float) -> list[Row]:
    """The same with `beside`, where the name of each may be written on a logarithmic axis: at its value, or so far
    above the name below it that both can be read.

    `least`: the magnitude at one line of text over that at the line below it.
    """
    beside = list[Row]()
    for row in sorted((row for row in rows if row["value"]), key=lambda row: float(row["value"])):
        lowest = beside[-1]["beside"] * least if beside else 0.0
        beside.append({**row, "beside": max(row["value"], lowest)})
    return beside


def everyone(drawn: Drawn) -> list[Row]:
    """M of all published checkpoints and, last, of the model itself."""
    rows = [
        {
            "model": one.name,
            "role": THEIRS,
            "series": one.series,
            "value": one.max_abs,
            "shown": said(one.max_abs),
            "size": one.layers * one.hidden_size,
        }
        for one in published_checkpoints()
    ]
    return [*rows, own_row(drawn)]


def own_row(drawn: Drawn) -> Row:
    return {
        "model": drawn.model,
        "role": OURS,
        "series": OURS,
        "value": positive(drawn.m),
        "shown": said(drawn.m),
        "size": drawn.layers * drawn.hidden_size,
    }


def named_checkpoint(name: str) -> PublishedCheckpoint:
    return next(one for one in published_checkpoints() if one.name == name)


def stream_rows(one: PublishedCheckpoint, kind: str = "hidden", **others: Any) -> list[Row]:
    """Maxima of one kind of sites over normalised depth."""
    return [
        {
            "model": one.name,
            "layer": layer,
            "depth": number((layer + 1) / one.layers, 4),
            "value": positive(value),
            "shown": said(value),
            **others,
        }
        for layer, value in enumerate(one.maxima.get(kind, ()))
    ]


def own_stream_rows(drawn: Drawn, kind: str = "hidden", **others: Any) -> list[Row]:
    return [
        {
            "model": drawn.model,
            "layer": cell.layer,
            "depth": number((cell.depth + 1) / drawn.layers, 4),
            "value": positive(cell.value),
            "shown": said(cell.value),
            **others,
        }
        for cell in drawn.cells
        if cell.kind == kind and cell.layer is not None
    ]


def own_words(drawn: Drawn) -> str:
    return f"{drawn.model}: M {said(drawn.m)} at {drawn.carrier}."
