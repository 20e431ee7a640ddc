"""What a stress set did, for people: recipes against the corpus, and the sites that it raised most."""

from collections.abc import Iterator

from pytest_maxact.judge.trust.stress import SiteRatio, StressFigures, stress_line, stress_sentences
from pytest_maxact.numbers.ratio import ratio
from pytest_maxact.report.terminal.screen import Column, Grid, Part, Screen, Text, grouped, short, to_text

_SITES = 12


def render_stress(figures: StressFigures, screen: Screen) -> str:
    return to_text(_parts(figures), screen)


def _parts(figures: StressFigures) -> Iterator[Part]:
    yield Text(stress_line(figures), style="bold red" if figures.broken or figures.corpus_broken else "bold")
    for sentence in stress_sentences(figures):
        yield Text(sentence)
    yield Text("")
    yield Grid(
        columns=[Column(name="recipe"), *_figures("samples", "tokens", "M", "x corpus")],
        rows=[("the corpus", "", "", short(figures.corpus), "1.00"), *_recipes(figures)],
        gap=2,
    )
    yield Text("")
    most = sorted(figures.sites, key=lambda one: -one.ratio)[:_SITES]
    yield Grid(
        columns=[
            Column(name="site"), *_figures("corpus", "stress", "x corpus"), Column(name="by"),
            Column(name="where", fold=True),
        ],
        rows=[_row(one) for one in most],
        gap=2,
        title=f"sites that stress raised most, of {len(figures.sites)}",
    )  # fmt: skip


def _figures(*names: str) -> list[Column]:
    return [Column(name=name, right=True) for name in names]


def _recipes(figures: StressFigures) -> Iterator[tuple[str, ...]]:
    for name, recipe in figures.stress.recipes.items():
        m = figures.recipes[name]
        times = _times(ratio(figures.corpus, m))
        yield name, grouped(recipe.samples), grouped(recipe.tokens), short(m), times


def _row(one: SiteRatio) -> tuple[str, ...]:
    where = f"token {one.peak.position} {one.peak.token!r}, channel {one.peak.channel}" if one.peak else ""
    return one.site, short(one.corpus), short(one.stress), _times(one.ratio), one.recipe, where


def _times(factor: float) -> str:
    return f"{factor:.2f}" if factor == factor and factor != float("inf") else "not finite"
