"""What all figures are built with: rows of flat data that JSON can hold, tooltips, and the spec of an altair chart with
its data in it.

Guards that a name is never part of an expression or a field: fields are of this program, names are values of theirs.
"""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import altair as alt

Row = Mapping[str, Any]
ROWS = "rows"
"""The name of a figure's own data in its spec."""


def number(value: float | None) -> float | None:
    """As JSON has it, in as many digits as are read: None for what is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")


def said(value: float | None) -> str:
    """For a person."""
    if value is None:
        return "none"
    return f"{value:.6g}" if math.isfinite(value) else "NaN or infinite"


def positive(value: float | None) -> float | None:
    """What a logarithmic axis can hold."""
    found = number(value)
    return found if found is not None and found > 0 else None


def named(name: str = ROWS) -> "alt.NamedData":
    """Data of a spec by its name."""
    import altair as alt

    return alt.NamedData(name=name)


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
            format="d",
            tickMinStep=1,
            grid=False,
            labelExpr=f"datum.value < 0 || datum.value >= {layers} ? '' : format(datum.value, 'd')",
        ),
    )


def zoom_along(*channels: Literal["x", "y"]) -> "alt.Parameter":
    """Dragging moves and scrolling zooms along these axes; a double click takes it back."""
    import altair as alt

    return alt.selection_interval(name="zoom", bind="scales", encodings=list(channels))


def spec_of(chart: Any, height: int, **data: Iterable[Row]) -> dict[str, Any]:
    """The spec of a chart as wide as what holds it, with its data, by name."""
    spec: dict[str, Any] = chart.to_dict()
    for of_theme in ("config", "datasets"):
        spec.pop(of_theme, None)
    return {
        **spec,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "datasets": {name: list(rows) for name, rows in data.items()},
    }
