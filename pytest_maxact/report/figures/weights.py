"""What schemes cost the weights of linear layers, layer by layer."""

import math

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.report.figures.build import (
    apart,
    broken_points,
    chart_of,
    choice_of,
    decibels,
    layer_axis,
    lean,
    made,
    number,
    tooltips,
    zoom_along,
)
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.theme import BREACH

NAME, TITLE = "weights", "What do low bits cost the weights?"
_CAPTION = (
    "SQNR in dB of the weight that the chosen scheme costs most, of those that each site is multiplied with; experts by"
    " the worst of their matrices. A cross at the upper edge: the scheme cannot quantize it."
    " What loses nothing has no place on the axis, and stands in the data."
)


def weights(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    if not drawn.weights:
        return LeftOut(name=NAME, title=TITLE, reason="no scheme that quantizes weights was measured")
    schemes = list(dict.fromkeys(one.scheme for one in drawn.weights))
    kinds = list(dict.fromkeys(one.kind for one in drawn.weights))
    rows = [
        {
            "place": schemes.index(one.scheme),
            "scheme": one.scheme,
            "site": one.site,
            "kind": one.kind,
            "layer": one.layer,
            "worst": one.worst,
            "weights": one.weights,
            "sqnr_db": number(one.sqnr_db, 5),
            "shown": decibels(one.sqnr_db),
            "refused": one.refused,
            "broken": number(one.sqnr_db) is None and one.sqnr_db != math.inf,
        }
        for one in drawn.weights
    ]
    chosen = choice_of("scheme", schemes, "scheme")
    picked = chart_of().transform_filter(alt.datum.place == chosen)
    x = layer_axis("layer", drawn.layers)
    hints = tooltips(worst="weight", shown="SQNR", site="after", weights="of so many", refused="refused")
    y = alt.Y("sqnr_db:Q", title="SQNR, dB", scale=alt.Scale(zero=False, padding=8))
    lines = picked.encode(x=x, y=y, tooltip=hints, **apart("kind", kinds, "weights after"))
    chart = alt.layer(
        lines.mark_line(strokeWidth=1, opacity=0.6).add_params(chosen, zoom_along("x", "y")),
        lines.mark_point(filled=True, size=40, opacity=1),
        broken_points(picked, BREACH, x=x, tooltip=hints),
    )
    return made(NAME, TITLE, _CAPTION, _alternative(drawn), chart, 280, rows, rows=lean(rows, *rows[0]))


def _alternative(drawn: Drawn) -> str:
    parts = []
    for scheme in dict.fromkeys(one.scheme for one in drawn.weights):
        own = [one for one in drawn.weights if one.scheme == scheme]
        least = min((one for one in own if not math.isnan(one.sqnr_db)), key=lambda one: one.sqnr_db, default=None)
        refused = sum(math.isnan(one.sqnr_db) for one in own)
        parts.append(
            f"{scheme}: "
            + (f"lowest {least.sqnr_db:.2f} dB at {least.worst}" if least else "no figure")
            + (f", {refused} without a figure" if refused else "")
        )
    return f"{'; '.join(parts)}."
