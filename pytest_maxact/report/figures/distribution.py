"""The exact distribution of magnitudes of single sites, with the points where number formats clip and end."""

from collections.abc import Sequence

from pytest_maxact.judge.figures.distribution import Distribution, Mark
from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.numbers.counted import counted
from pytest_maxact.report.figures.build import (
    Row,
    chart_of,
    choice_of,
    lean,
    logarithmic,
    made,
    number,
    said,
    tooltips,
    zoom_along,
)
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.theme import BREACH, OWN

NAME, TITLE = "distribution", "How are magnitudes distributed, and where do number formats clip them?"
_CAPTION = (
    "Every entry of a site is counted, in bins of a quarter of an octave; the height is the share of all entries per"
    " octave, both axes logarithmic. Lines: where INT-8 clips under three policies, below which magnitude max_abs"
    " rounds to zero (its half step), where FP8 and FP16 end, and the limit. Zeros, and what is not finite, have no"
    " place on the axis and stand in the text."
)
_NEAR = 0.03
"""Marks that are nearer to each other than this share of the axis have one line of text."""


def distribution(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    if drawn.distributed is None:
        return LeftOut(name=NAME, title=TITLE, reason="the Record is slim and keeps no distributions")
    sites = drawn.distributed.sites
    options = [_option(site) for site in sites]
    rows = [row for place, site in enumerate(sites) for row in _rows(place, site)]
    marks = [
        row
        for place, site in enumerate(sites)
        for row in _marks(place, site.marks, site.bins[0].low if site.bins else 1.0)
    ]
    chosen = choice_of("site", options, "site")
    x, x2 = logarithmic("low", "magnitude", along="x"), "high:Q"
    y = logarithmic("density", "share of entries per octave")
    bars = (
        chart_of()
        .transform_filter(alt.datum.place == chosen)
        .mark_rect(color=OWN, opacity=0.45)
        .transform_calculate(span="format(datum.low, '.4~g') + ' to ' + format(datum.high, '.4~g')")
        .encode(
            x=x,
            x2=x2,
            y=y,
            y2=alt.value("height"),
            tooltip=tooltips(span="magnitudes", count="entries", density="share per octave"),
        )
        .add_params(chosen, zoom_along("x"))
    )
    lines = chart_of("marks").transform_filter(alt.datum.place == chosen)
    colour = alt.condition("datum.limit", alt.value(BREACH), alt.value("#8c959f"))
    hints = tooltips(name="mark", shown="at")
    chart = alt.layer(
        bars,
        lines.mark_rule(strokeWidth=1.5, strokeDash=[4, 3]).encode(x=alt.X("value:Q"), color=colour, tooltip=hints),
        lines.transform_filter("isValid(datum.label)")
        .mark_text(angle=270, align="right", dy=-6, dx=-2, fontSize=11)
        .encode(x=alt.X("value:Q"), y=alt.value(0), text="label:N", tooltip=hints),
    )
    slim = lean(rows, "place", "low", "high", "density", "count")
    words = " ".join(_words(site) for site in sites[:3])
    more = f" {counted(drawn.distributed.untold, 'site')} more with breaches, not drawn here." * bool(
        drawn.distributed.untold
    )
    return made(NAME, TITLE, _CAPTION, words + more, chart, 340, rows, rows=slim, marks=marks)


def _option(site: Distribution) -> str:
    return f"{site.site} ({site.why})"


def _rows(place: int, site: Distribution) -> list[Row]:
    return [
        {
            "place": place,
            "site": site.site,
            "why": site.why,
            "low": number(one.low),
            "high": number(one.high),
            "count": one.count,
            "share": number(one.count / site.count),
            "density": number(one.count / site.count / _octaves(one.low, one.high), 4),
        }
        for one in site.bins
    ]


def _octaves(low: float, high: float) -> float:
    from math import log2

    return log2(high / low)


def _marks(place: int, marks: Sequence[Mark], least: float) -> list[Row]:
    """Those near each other have their names together, at the first of them; the limit is last, so that no other line
    is drawn over it.
    """
    groups: list[list[Mark]] = []
    near = (max(mark.value for mark in marks) / least) ** _NEAR
    for mark in sorted(marks, key=lambda mark: mark.value):
        if groups and mark.value <= groups[-1][0].value * near:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    found = [
        {
            "place": place,
            "name": mark.name,
            "value": number(mark.value),
            "shown": said(mark.value),
            "limit": mark.name == "limit",
            **({"label": ", ".join(dict.fromkeys(one.name for one in group))} if mark is group[0] else {}),
        }
        for group in groups
        for mark in group
    ]
    return sorted(found, key=lambda row: bool(row["limit"]))


def _words(site: Distribution) -> str:
    apart = [
        f"{count} {what}"
        for count, what in (
            (site.zeros, "zeros"),
            (site.nonfinite, "NaN or infinite"),
            (site.below, "below the smallest bin"),
        )
        if count
    ]
    span = f"in bins from {said(site.bins[0].low)} to {said(site.bins[-1].high)}" if site.bins else "none above zero"
    marks = ", ".join(f"{mark.name} {said(mark.value)}" for mark in site.marks)
    beside = f", and {', '.join(apart)}" if apart else ""
    return f"{site.site} ({site.why}): {f'{site.count:,}'.replace(',', ' ')} entries, {span}{beside}; marks: {marks}."
