"""Before and after, layer by layer: the maxima of a model and of a baseline."""

from pytest_maxact.judge.figures.against import AgainstDrawn, Change
from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.report.figures.build import (
    Row,
    broken_points,
    chart_of,
    choice_of,
    layer_axis,
    lean,
    listed,
    logarithmic,
    made,
    number,
    positive,
    roles,
    said,
    tooltips,
    zoom_along,
)
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.theme import BREACH, ORANGE, OWN

NAME, TITLE = "baseline", "What changed from the baseline, layer by layer?"
_CAPTION = (
    "The largest magnitude at every layer, before (dashed) and after, for the kind of site that is chosen, on a"
    " logarithmic axis. A ring: a check against the baseline fails there. A cross at the upper edge: entries that are"
    " NaN or infinite."
)
_LARGE = 1.05


def against(drawn: Drawn) -> "list[Figure | LeftOut]":
    """One for each baseline."""
    if not drawn.against:
        return [LeftOut(name=NAME, title=TITLE, reason="it was compared with no baseline")]
    several = len(drawn.against) > 1
    return [
        _figure(f"{NAME}-{place}" if several else NAME, one, drawn.layers) for place, one in enumerate(drawn.against, 1)
    ]


def _figure(name: str, one: AgainstDrawn, layers: int) -> Figure:
    import altair as alt

    kinds = sorted({change.kind for change in one.changes}, key=lambda kind: kind != "hidden")
    rows = [row for change in one.changes for row in (_row(kinds, change, "before"), _row(kinds, change, "after"))]
    chosen = choice_of("kind", kinds, "kind of site")
    picked = chart_of().transform_filter(alt.datum.place == chosen)
    x, y = layer_axis("depth", layers), logarithmic("value", "largest magnitude")
    hints = tooltips(site="site", role="", shown="largest", ratio="after over before", shift="shift", checks="fails")
    colour = roles({"before": ORANGE, "after": OWN})
    lines = picked.encode(x=x, y=y, color=colour, tooltip=hints)
    chart = alt.layer(
        lines.mark_line(strokeWidth=2).encode(
            strokeDash=alt.condition("datum.role === 'before'", alt.value([5, 4]), alt.value([1, 0])), detail="role:N"
        ).add_params(chosen, zoom_along("x", "y")),
        lines.mark_point(filled=True, size=36, opacity=1),
        lines.transform_filter("isValid(datum.checks) && datum.role === 'after'").mark_point(
            filled=False, size=190, strokeWidth=2, stroke=BREACH, opacity=1
        ),
        broken_points(picked, BREACH, x=x, tooltip=hints),
    )  # fmt: skip
    title = f"What changed from {one.name}, layer by layer?"
    return made(name, title, _CAPTION, _alternative(one), chart, 300, rows, rows=lean(rows, *rows[0]))


def _row(kinds: list[str], change: Change, role: str) -> Row:
    value = change.before if role == "before" else change.after
    return {
        "place": kinds.index(change.kind),
        "site": change.site,
        "kind": change.kind,
        "depth": change.depth,
        "role": role,
        "value": positive(value),
        "shown": said(value),
        "ratio": number(change.ratio, 4),
        "shift": number(change.shift, 4),
        "checks": ", ".join(change.failing),
        "broken": (number(value) is None) or None,
    }


def _alternative(one: AgainstDrawn) -> str:
    moved = [change for change in one.changes if not 1 / _LARGE <= change.ratio <= _LARGE]
    failing = [change.site for change in one.changes if change.failing]
    known = [change for change in moved if number(change.ratio) is not None and change.ratio > 0]
    most = max(known, key=lambda change: max(change.ratio, 1 / change.ratio), default=None)
    words = f"{len(moved)} of {len(one.changes)} sites differ by more than a twentieth"
    if most:
        words += f", most {most.site}, from {said(most.before)} to {said(most.after)}"
    beside = [*one.failing, *failing]
    gone = f" Sites of one alone: {listed([*one.gone, *one.new])}." if one.gone or one.new else ""
    return f"{words}. Checks against it fail at: {listed(beside)}.{gone}"
