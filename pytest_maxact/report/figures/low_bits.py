"""What low bits cost, by site and scheme: a heat map of SQNR for every scheme."""

import math

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.judge.figures.low_bits import LowBitRow
from pytest_maxact.numbers.sites import KINDS
from pytest_maxact.report.figures.build import (
    Row,
    as_cells,
    chart_of,
    choice_of,
    decibels,
    layer_axis,
    lean,
    listed,
    made,
    number,
    outlined,
    tooltips,
    zoom_along,
)
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.theme import BREACH, INK

NAME, TITLE = "low_bits", "What do low bits cost, site by site?"
_CAPTION = (
    "SQNR in dB, of every site under the scheme that is chosen: 20 dB is what the paper calls acceptable, and below 0"
    " or above 40 the colour no longer changes. Outlined: a check fails there. A cross: entries that are NaN or"
    " infinite. INT-8 is per tensor, from the exact histogram; other schemes as they were measured."
)


def low_bits(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    if not drawn.low_bits:
        return LeftOut(name=NAME, title=TITLE, reason="no site has a calibration and an evaluation split")
    schemes = list(dict.fromkeys(row.scheme for row in drawn.low_bits))
    rows = tuple(_row(schemes.index(one.scheme), one) for one in drawn.low_bits)
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    chosen = choice_of("scheme", schemes, "scheme")
    hints = tooltips(site="site", shown="SQNR", zeroed="become zero", least="at least")
    picked = chart_of().transform_filter(alt.datum.place == chosen)
    base = as_cells(picked, drawn.layers, kinds, tooltip=hints)
    scale = alt.Scale(domain=[0, 40], scheme="cividis", clamp=True)
    cells = (
        base.transform_filter("isValid(datum.colour)")
        .mark_rect()
        .encode(color=alt.Color("colour:Q", title="SQNR, dB", scale=scale))
        .add_params(chosen, zoom_along("x"))
    )
    broken = base.transform_filter("datum.broken").mark_rect(color=BREACH, opacity=0.35)
    crosses = (
        picked.transform_filter("datum.broken")
        .mark_point(shape="cross", angle=45, filled=True, size=70, style=INK)
        .encode(x=layer_axis("depth", drawn.layers), y=alt.Y("kind:N", sort=kinds, title=None), tooltip=hints)
    )
    fails = outlined(base.transform_filter("datum.fails"))
    fields = ("place", "site", "kind", "depth", "colour", "shown", "zeroed", "least", "broken", "fails")
    slim = lean(rows, *fields)
    return made(
        NAME, TITLE, _CAPTION, _alternative(drawn), alt.layer(cells, broken, crosses, *fails),
        24 * len(kinds) + 20, rows, rows=slim,
    )  # fmt: skip


def _row(place: int, one: LowBitRow) -> Row:
    exact = one.sqnr_db == math.inf
    return {
        "place": place,
        "site": one.site,
        "kind": one.kind,
        "depth": one.depth,
        "scheme": one.scheme,
        "sqnr_db": number(one.sqnr_db),
        "colour": 40.0 if exact else 0.0 if one.sqnr_db == -math.inf else number(one.sqnr_db, 4),
        "shown": decibels(one.sqnr_db, "none: NaN or infinite"),
        "flushed": number(one.flushed),
        "zeroed": "" if math.isnan(one.flushed) else f"{one.flushed:.2%}",
        "clipped": number(one.clipped),
        "limit": number(one.limit),
        "least": f"{one.limit:g} dB" if one.limit is not None else "",
        "broken": math.isnan(one.sqnr_db) or None,
        "fails": one.fails or None,
    }


def _alternative(drawn: Drawn) -> str:
    parts = []
    for scheme in dict.fromkeys(row.scheme for row in drawn.low_bits):
        rows = [row for row in drawn.low_bits if row.scheme == scheme]
        known = [row for row in rows if not math.isnan(row.sqnr_db)]
        least = min(known, key=lambda row: row.sqnr_db, default=None)
        lowest = f"lowest {decibels(least.sqnr_db)} at {least.site}" if least else "none finite"
        under = sum(row.sqnr_db < 20 for row in known)
        fails = [row.site for row in rows if row.fails]
        failing = f", checks fail at {listed(fails)}" if fails else ""
        broken = sum(math.isnan(row.sqnr_db) for row in rows)
        parts.append(
            f"{scheme}: {lowest}, {under} of {len(rows)} sites below 20 dB{failing}"
            + (f", {broken} not finite" if broken else "")
        )
    return f"{'; '.join(parts)}."
