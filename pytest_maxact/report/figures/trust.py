"""How far figures can be trusted: whether M still grows with text, intervals of averages, and what stress adds."""

import math

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.judge.trust.ahead import tail_words
from pytest_maxact.judge.trust.stress import StressFigures
from pytest_maxact.numbers.sites import KINDS
from pytest_maxact.report.figures.build import (
    apart,
    broken_points,
    chart_of,
    choice_of,
    exact_axis,
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
from pytest_maxact.report.figures.theme import BREACH, GREY, ORANGE, OWN

SATURATION, SATURATION_TITLE = "saturation", "Does M still grow with more text?"
INTERVALS, INTERVALS_TITLE = "intervals", "How far can averages be trusted?"
STRESS, STRESS_TITLE = "stress", "How much worse are inputs that no corpus has?"
STRESS_SITES, STRESS_SITES_TITLE = "stress_sites", "Where do such inputs exceed the corpus?"


def saturation(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    m = drawn.trust.m
    if m is None:
        why = "the Record tells nothing of M sample by sample, or M is not finite"
        return LeftOut(name=SATURATION, title=SATURATION_TITLE, reason=why)
    found = m.saturation
    rows = [
        {"tokens": tokens, "mean": number(mean), "low": number(low), "high": number(high)}
        for tokens, mean, low, high in zip(found.tokens, found.mean, found.low, found.high, strict=True)
    ]
    lines = [{"name": "M of all text", "at": number(m.value), "above": True}]
    if m.beyond.again is not None:
        lines.append({"name": "another corpus reaches this", "at": number(m.beyond.again), "above": False})
    x = alt.X("tokens:Q", title="tokens of text", axis=exact_axis("~s"), scale=alt.Scale(nice=False))
    y = alt.Y("low:Q", title="largest magnitude so far", scale=alt.Scale(zero=False, padding=16), axis=exact_axis("~s"))
    base = chart_of().encode(x=x, tooltip=tooltips(tokens="tokens", mean="mean", low="from", high="to"))
    rules = chart_of("lines").encode(y=alt.Y("at:Q"), tooltip=tooltips(name="line", at="at"))
    chart = alt.layer(
        base.mark_area(color=OWN, opacity=0.22).encode(y=y, y2="high:Q"),
        base.mark_line(color=OWN, strokeWidth=2.2).encode(y="mean:Q"),
        base.mark_point(color=OWN, filled=True, size=44, opacity=1).encode(y="mean:Q").add_params(zoom_along("x", "y")),
        rules.mark_rule(strokeDash=[5, 4]),
        rules.transform_filter("datum.above")
        .mark_text(align="right", dx=-4, dy=-7, fontSize=11)
        .encode(x=alt.value("width"), text="name:N"),
        rules.transform_filter("!datum.above")
        .mark_text(align="right", dx=-4, dy=11, fontSize=11)
        .encode(x=alt.value("width"), text="name:N"),
    )
    caption = (
        "The largest magnitude found in so much text, in whole samples: mean of 100 random orders of them, and the band"
        " of 95 orders. A curve that is flat at the end has saturated; M is a lower bound all the same."
        + "".join(f" {told[0].upper()}{told[1:]}." for told in (tail_words(m.tail) if m.tail else ()))
    )
    again = (
        f" Another corpus of this size reaches {said(m.beyond.again)} with probability {m.beyond.reached:.2f} at least."
    )
    words = (
        f"M {said(m.value)} at {m.site} on {found.tokens[-1]} tokens; the second half of the text raised it by"
        f" {found.last_half:.1%} on average, {found.holders} of {m.beyond.samples} samples reach it; halves"
        f" {said(m.halves[0])} and {said(m.halves[1])}." + (again if m.beyond.again is not None else "")
    )
    return made(SATURATION, SATURATION_TITLE, caption, words, chart, 260, rows, lines=lines)


def intervals(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    found = drawn.trust.figures
    if not found:
        why = "no scheme's effect on predictions was measured with its samples"
        return LeftOut(name=INTERVALS, title=INTERVALS_TITLE, reason=why)
    quantities = list(dict.fromkeys(one.name.rpartition(".")[2] for one in found))
    rows = [
        {
            "place": quantities.index(one.name.rpartition(".")[2]),
            "figure": one.name,
            "scheme": one.name.rpartition(".")[0],
            "value": number(one.value),
            "low": number(one.low) if one.holds else None,
            "high": number(one.high) if one.holds else None,
            "shown": said(one.value),
            "interval": one.untold or f"{one.low:.6g} to {one.high:.6g}",
            "broken": (number(one.value) is None) or None,
        }
        for one in found
    ]
    chosen = choice_of("quantity", quantities, "figure")
    hints = tooltips(figure="figure", shown="value", interval="95 % interval")
    base = chart_of().transform_filter(alt.datum.place == chosen).encode(y=alt.Y("scheme:N", title=None, sort=None),
                                                                         tooltip=hints)  # fmt: skip
    x = alt.X("value:Q", title=None, scale=alt.Scale(zero=False), axis=exact_axis(tickCount=6))
    known = base.transform_filter("isValid(datum.low) && isValid(datum.high)")
    chart = alt.layer(
        known.mark_rule(color=OWN, strokeWidth=2.5).encode(x=alt.X("low:Q"), x2="high:Q"),
        base.mark_point(color=OWN, filled=True, size=90, opacity=1).encode(x=x).add_params(chosen),
        base.transform_filter("datum.broken")
        .mark_point(shape="cross", angle=45, filled=True, size=110, color=BREACH)
        .encode(x=alt.value("width")),
    )
    schemes = len({row["scheme"] for row in rows})
    words = "; ".join(f"{row['figure']} {row['shown']} ({row['interval']})" for row in rows[:12])
    caption = (
        "What each scheme does to predictions, with 95 % intervals over samples; without a line where none is told, or "
        "one that has no end."
    )
    return made(INTERVALS, INTERVALS_TITLE, caption, f"{words}.", chart, max(70, 30 * schemes), rows,
                rows=lean(rows, *rows[0]))  # fmt: skip


def stress(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    found = drawn.trust.stress
    if found is None:
        return LeftOut(name=STRESS, title=STRESS_TITLE, reason="no stress set was tried")
    rows = [
        {
            "recipe": name,
            "value": positive(value),
            "shown": said(value),
            "over": said(_over(found.corpus, value), " x"),
            "role": "above the corpus" if not value <= found.corpus else "within the corpus",
            "broken": (number(value) is None) or None,
        }
        for name, value in found.recipes.items()
    ]
    corpus = [{"name": "M of the corpus", "at": positive(found.corpus)}]
    hints = tooltips(recipe="recipe", shown="M", over="over the corpus")
    y = alt.Y("recipe:N", sort=None, title=None, axis=alt.Axis(labelLimit=200))
    base = chart_of().encode(y=y, tooltip=hints)
    x = logarithmic("value", "M", along="x")
    colour = roles({"above the corpus": ORANGE, "within the corpus": OWN})
    chart = alt.layer(
        chart_of("corpus").mark_rule(strokeDash=[5, 4]).encode(x=alt.X("at:Q"), tooltip=tooltips(name="line", at="at")),
        base.mark_point(filled=True, size=110, opacity=1).encode(x=x, color=colour),
        base.transform_filter("datum.broken")
        .mark_point(shape="cross", angle=45, filled=True, size=120, color=BREACH)
        .encode(x=alt.value("width")),
    )
    caption = (
        "M of each recipe of the stress set, on a logarithmic axis, beside that of the corpus (dashed). A cross at the"
        " right edge: entries that are NaN or infinite."
    )
    words = ", ".join(f"{row['recipe']} {row['shown']} ({row['over']})" for row in rows)
    return made(STRESS, STRESS_TITLE, caption, f"M of the corpus {said(found.corpus)}; {words}.", chart,
                max(80, 26 * len(rows)), rows, rows=lean(rows, *rows[0]), corpus=corpus)  # fmt: skip


def _over(corpus: float, value: float) -> float:
    return value / corpus if corpus and math.isfinite(value) and math.isfinite(corpus) else math.nan


def stress_sites(drawn: Drawn) -> Figure | LeftOut:
    import altair as alt

    found = drawn.trust.stress
    if found is None:
        return LeftOut(name=STRESS_SITES, title=STRESS_SITES_TITLE, reason="no stress set was tried")
    depth = {cell.site: (cell.depth, cell.kind) for cell in drawn.cells}
    rows = [
        {
            "site": one.site,
            "depth": depth[one.site][0],
            "kind": depth[one.site][1],
            "value": positive(one.ratio),
            "shown": said(one.ratio, " x"),
            "corpus": said(one.corpus),
            "stress": said(one.stress),
            "recipe": one.recipe,
            "broken": (number(one.ratio) is None) or None,
        }
        for one in found.sites
        if one.site in depth
    ]
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    hints = tooltips(site="site", shown="over the corpus", corpus="corpus", stress="stress", recipe="recipe")
    x = layer_axis("depth", drawn.layers)
    chart = alt.layer(
        chart_of("even").mark_rule(strokeDash=[5, 4], color=GREY).encode(y=alt.Y("at:Q")),
        chart_of()
        .mark_point(size=44, strokeWidth=1.6, opacity=0.9)
        .encode(
            x=x,
            y=logarithmic("value", "stress over corpus"),
            tooltip=hints,
            **apart("kind", kinds),
        )
        .add_params(zoom_along("x", "y")),
        broken_points(chart_of(), BREACH, x=x, tooltip=hints),
    )
    caption = (
        "The largest magnitude under stress over that of the corpus, site by site, on a logarithmic axis. Above the"
        " dashed line, stress reached more."
    )
    return made(STRESS_SITES, STRESS_SITES_TITLE, caption, _where(found), chart, 300, rows,
                rows=lean(rows, *rows[0]), even=[{"at": 1}])  # fmt: skip


def _where(found: StressFigures) -> str:
    known = [one for one in found.sites if number(one.ratio) is not None]
    above = [one for one in known if one.ratio > 1]
    most = max(known, key=lambda one: one.ratio, default=None)
    words = f"{len(above)} of {len(found.sites)} sites reach more than on the corpus"
    if most:
        words += f", most {most.site}, {most.ratio:.3g} times, by {most.recipe}"
    return f"{words}. Not finite: {listed(found.broken)}."
