"""What all figures are built with: rows of flat data that JSON can hold, scales, tooltips, and the spec of an altair
chart with its data in it.

Guards that a name is never part of an expression or a field: fields are of this program, names are values of theirs.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.filled import filled
from pytest_maxact.report.figures.theme import BREACH, INK, SERIES, SHAPES

if TYPE_CHECKING:
    import altair as alt

Row = Mapping[str, Any]
ROWS = "rows"
"""The name of a figure's own data in its spec."""
_VIEW = re.compile(r"view_\w+")
_WHOLE = "datum.value % 1 ? '' : format(datum.value, 'd')"
_LEGEND, _LETTER, _SYMBOL = 640, 7, 26
"""Pixels of a row of a legend in print, of a letter in it at most, and of what stands before a name."""
LISTED = 8
"""So many names a text alternative lists, and says how many there are more."""


def number(value: float | None, digits: int = 6) -> float | None:
    """As JSON has it, in as many digits as are read: None for what is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{digits}g}")


def said(value: float | None, unit: str = "") -> str:
    """For a person."""
    if value is None:
        return "none"
    return f"{value:.6g}{unit}" if math.isfinite(value) else "NaN or infinite"


def decibels(value: float, otherwise: str = "none") -> str:
    """A ratio for a person; `otherwise` of one that is NaN."""
    if math.isnan(value):
        return otherwise
    return "nothing lost" if value == math.inf else "all lost" if value == -math.inf else f"{value:.2f} dB"


def positive(value: float | None) -> float | None:
    """What a logarithmic axis can hold."""
    found = number(value)
    return found if found is not None and found > 0 else None


def listed(names: Sequence[str]) -> str:
    """Names in a text, the first of many."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}" if names else "none"


def lean(rows: Iterable[Row], *fields: str) -> tuple[Row, ...]:
    """Of rows these fields, without those that hold nothing: what a spec need not carry."""
    return tuple({field: row[field] for field in fields if row[field] not in (None, "")} for row in rows)


@contextmanager
def unproven() -> Iterator[None]:
    """While open, altair takes parts of a chart as they come: holding each to the schema of Vega-Lite takes half the
    time of drawing, and tests hold all figures to it whole.
    """
    from altair.utils.schemapi import debug_mode

    with debug_mode(False):
        yield


def chart_of(name: str = ROWS) -> "alt.Chart":
    """A chart of data by its name in the spec."""
    import altair as alt

    return alt.Chart(alt.NamedData(name=name))


def tooltips(**titles: str) -> "list[alt.Tooltip]":
    """What is shown of a mark: fields of ours, and what they are called."""
    import altair as alt

    return [alt.Tooltip(field=field, type="nominal", title=title) for field, title in titles.items()]


def layer_axis(field: str, layers: int) -> "alt.X":
    """An axis of layers on which the embedding stands before the first and the final norm after the last."""
    import altair as alt

    return alt.X(
        field,
        type="quantitative",
        title="layer",
        scale=alt.Scale(domain=[-1.5, layers + 0.5], nice=False, zero=False),
        axis=alt.Axis(
            tickMinStep=1,
            grid=False,
            labelExpr=f"datum.value < 0 || datum.value >= {layers} ? '' : {_WHOLE}",
        ),
    )


def whole_axis(**changes: Any) -> "alt.Axis":
    """An axis of whole numbers: a line between two of them has no name."""
    import altair as alt

    return alt.Axis(tickMinStep=1, labelExpr=_WHOLE, **changes)


def exact_axis(form: Literal["~g", "~s"] = "~g", **changes: Any) -> "alt.Axis":
    """An axis whose lines say what they stand at, however near they are to each other: a `format` would round to as
    many digits as the axis has steps for, and 0.025 alone on one would be 0.03.
    """
    import altair as alt

    return alt.Axis(labelExpr=f"format(datum.value, '{form}')", **changes)


def apart(field: str, names: Sequence[str], title: str | None = None) -> dict[str, Any]:
    """Points by their names: a colour and a shape for each, so that no two are told apart by colour alone, and their
    legend in as many columns as a printed figure holds.
    """
    import altair as alt

    columns = max(1, min(len(names), _LEGEND // (_LETTER * max(map(len, names), default=0) + _SYMBOL)))

    def scale(values: Sequence[str]) -> "alt.Scale":
        return alt.Scale(domain=list(names), range=[values[place % len(values)] for place in range(len(names))])

    how: dict[str, Any] = {"type": "nominal", "title": title, "sort": list(names)}
    how["legend"] = alt.Legend(columns=columns)
    return {
        "color": alt.Color(field, scale=scale(SERIES), **how),
        "shape": alt.Shape(field, scale=scale(SHAPES), **how),
    }


def as_cells(chart: "alt.Chart", layers: int, kinds: Sequence[str], **others: Any) -> Any:
    """A chart whose rows have a `depth` and a `kind`, as cells of layers by kinds."""
    import altair as alt

    return chart.transform_calculate(left="datum.depth - 0.5", right="datum.depth + 0.5").encode(
        x=layer_axis("left", layers), x2="right:Q", y=alt.Y("kind:N", sort=list(kinds), title=None), **others
    )


def logarithmic(field: str, title: str | None, *, along: Literal["x", "y"] = "y", domain: Any = None) -> Any:
    """An axis of magnitudes."""
    import altair as alt

    scale = alt.Scale(type="log", **({"domain": domain, "nice": False} if domain else {"nice": True}))
    channel = alt.Y if along == "y" else alt.X
    return channel(field, type="quantitative", title=title, scale=scale, axis=decades())


def decades(**changes: Any) -> "alt.Axis":
    """The axis of a logarithmic scale: lines at powers of ten, large numbers as 10k and 1M, huge ones as 1e+24."""
    import altair as alt

    whole = "abs(log(datum.value) / LN10 - round(log(datum.value) / LN10)) < 1e-6"
    leading = "round(datum.value / pow(10, floor(log(datum.value) / LN10 + 1e-9)))"
    words = (
        "datum.value >= 1e15 ? format(datum.value, '~e') : datum.value >= 1000 ? format(datum.value, '~s')"
        " : format(datum.value, '~g')"
    )
    return alt.Axis(
        labelExpr=f"indexof([1, 2, 5], {leading}) < 0 ? '' : {words}",
        labelOverlap="greedy",
        labelSeparation=3,
        tickCount=7,
        gridOpacity=alt.condition(whole, alt.value(1), alt.value(0)),
        **changes,
    )


def roles(colours: Mapping[str, str]) -> "alt.Color":
    """Colours by the field `role`: its values, and the colour of each."""
    import altair as alt

    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color("role", type="nominal", title=None, scale=scale)


def zoom_along(*channels: Literal["x", "y"]) -> "alt.Parameter":
    """Dragging moves and scrolling zooms along these axes; a double click takes it back."""
    import altair as alt

    return alt.selection_interval(name="zoom", bind="scales", encodings=list(channels))


def choice_of(field: str, options: Sequence[str], called: str) -> Any:
    """A menu of what is shown: a parameter whose value is the place of an option, 0 at first; names are labels."""
    import altair as alt

    places = list(range(len(options)))
    bind = alt.binding_select(options=places, labels=list(options), name=f"{called} ")
    return alt.param(name=f"chosen_{field}", value=0, bind=bind)


def made(
    name: str, title: str, caption: str, alternative: str, chart: Any, height: int, rows: Iterable[Row], /, **data: Any
) -> Figure:
    """The figure of a chart; `data`: what else its spec holds, by name, and under `rows` a leaner form of them."""
    rows = tuple(rows)
    spec: dict[str, Any] = _numbered(chart.to_dict(validate=False), {})
    for of_theme in ("config", "datasets"):
        spec.pop(of_theme, None)
    datasets = {ROWS: rows} | data
    spec = filled(spec, datasets)
    size = {"width": "container", "height": height, "autosize": {"type": "fit-x", "contains": "padding"}}
    return Figure(
        name=name,
        title=title,
        caption=caption,
        alternative=alternative,
        spec={
            **spec,
            **({} if "facet" in spec else size),
            "datasets": datasets,
        },
        rows=rows,
    )


def _numbered(value: Any, names: dict[str, str]) -> Any:
    """A spec with its views numbered from one: altair counts all of a process, and the same data shall give the same
    spec.
    """
    if isinstance(value, dict):
        return {key: _numbered(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_numbered(one, names) for one in value]
    if isinstance(value, str) and _VIEW.fullmatch(value):
        return names.setdefault(value, f"view_{len(names) + 1}")
    return value


def outlined(cells: "alt.Chart") -> "tuple[alt.Chart, alt.Chart]":
    """Cells in a line of two colours, one of which is seen on any colour of a scale, whatever colours a reader sees."""
    return (
        cells.mark_rect(fillOpacity=0, strokeWidth=4.5, style=INK),
        cells.mark_rect(fillOpacity=0, strokeWidth=2, stroke=BREACH),
    )


def broken_points(chart: "alt.Chart", colour: str, **encodings: Any) -> Any:
    """Crosses at the upper edge for what is not finite and has no place on the axis."""
    import altair as alt

    return (
        chart.transform_filter("datum.broken")
        .mark_point(shape="cross", angle=45, filled=True, size=110, color=colour)
        .encode(y=alt.value(6), **encodings)
    )
