"""What the stress set of a Record did beside its corpus: a Record in, ratios and sentences out.

Guard: the corpus's own maxima are not touched; a site that is not finite under stress has no ratio that could look
small.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.numbers.ratio import ratio
from pytest_maxact.record.record import Record
from pytest_maxact.record.stress import SiteStress, Stress

_FIRST, _WITHOUT, _WITH = "first token", "without BOS", "with BOS"
_MORE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRatio:
    """One site: M of the corpus, M under stress, inf where that is not finite, and the recipe that reached it."""

    site: str
    corpus: float
    stress: float
    recipe: str
    counted: bool
    peak: Peak | None

    @property
    def ratio(self) -> float:
        return ratio(self.corpus, self.stress) if math.isfinite(self.stress) else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Twice:
    """The same samples without and with a BOS: M of each, and the counted site at which that changes most."""

    without: float
    with_bos: float
    site: str
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StressFigures:
    """`recipes`: M of all counted sites by recipe, in the order in which they ran; `broken`: the sites that were not
    finite, and the recipe of the first; `corpus_broken`: those that were not finite on the corpus itself.
    """

    stress: Stress
    corpus: float
    largest: float
    site: str
    recipes: Mapping[str, float]
    sites: tuple[SiteRatio, ...]
    bos: Twice | None
    broken: tuple[str, ...]
    broken_by: str
    corpus_broken: tuple[str, ...]

    @property
    def factor(self) -> float:
        """M under stress over M of the corpus."""
        return ratio(self.corpus, self.largest) if math.isfinite(self.largest) else math.inf


def stress_figures(record: Record) -> StressFigures | None:
    """None where nothing was tried."""
    stress = record.stress
    if stress is None:
        return None
    sites = tuple(_ratio(record, name, seen) for name, seen in stress.sites.items())
    counted = [one for one in sites if one.counted]
    most = max(counted, key=lambda one: one.stress)
    broken = [one for one in sites if not math.isfinite(one.stress)]
    return StressFigures(
        stress=stress,
        corpus=record.carrier.max_abs,
        largest=most.stress,
        site=most.site,
        recipes={
            name: max(stress.sites[one.site].largest.get(name, 0.0) for one in counted) for name in stress.recipes
        },
        sites=sites,
        bos=_twice(stress, [one.site for one in counted]),
        broken=tuple(one.site for one in broken),
        broken_by=broken[0].recipe if broken else "",
        corpus_broken=tuple(name for name, reading in record.sites.items() if reading.nonfinite),
    )


def _ratio(record: Record, name: str, seen: SiteStress) -> SiteRatio:
    reading = record.sites[name]
    recipe = max(seen.largest, key=lambda one: seen.largest[one], default="")
    return SiteRatio(
        site=name, corpus=reading.max_abs, stress=seen.max_abs, recipe=recipe, counted=reading.site.counted,
        peak=seen.peak,
    )  # fmt: skip


def _twice(stress: Stress, counted: list[str]) -> Twice | None:
    if not {_WITHOUT, _WITH} <= stress.recipes.keys():
        return None
    pairs = {name: (stress.sites[name].largest[_WITHOUT], stress.sites[name].largest[_WITH]) for name in counted}

    def change(name: str) -> float:
        found = ratio(min(pairs[name]), max(pairs[name]))
        return math.inf if math.isnan(found) else found

    site = max(pairs, key=change)
    return Twice(
        without=max(pair[0] for pair in pairs.values()),
        with_bos=max(pair[1] for pair in pairs.values()),
        site=site,
        factor=ratio(*pairs[site]),
    )


def stress_line(figures: StressFigures) -> str:
    """In one line: how far above the corpus, where, and by what."""
    wrong = [
        f"at {len(names)} of {len(figures.sites)} sites{where}, the first {names[0]}{by}"
        for names, where, by in (
            (figures.broken, "", f" under {figures.broken_by}"),
            (figures.corpus_broken, " on the corpus itself", ""),
        )
        if names
    ]
    if wrong:
        return f"NaN or infinite {'; '.join(wrong)}"
    recipe = max(figures.recipes, key=lambda name: figures.recipes[name])
    above = [one for one in figures.sites if one.counted and one.ratio > _MORE]
    beyond = f"{len(above)} of {sum(one.counted for one in figures.sites)} sites above their corpus"
    if above:
        most = max(above, key=lambda one: one.ratio)
        beyond += f", most {most.site}, {most.ratio:.2f} x by {most.recipe}"
    return f"M {figures.largest:.6g} in {figures.site} by {recipe}, {figures.factor:.2f} x that of the corpus; {beyond}"


def stress_sentences(figures: StressFigures) -> Iterator[str]:
    """What stress tells beyond its line: of first tokens and of a BOS."""
    stress = figures.stress
    if _FIRST in figures.recipes:
        share = ratio(figures.corpus, figures.recipes[_FIRST])
        yield (
            f"first tokens: {stress.scanned} of {stress.vocabulary} tried alone, M {figures.recipes[_FIRST]:.6g}, "
            f"{share:.2f} x that of the corpus"
        )
    if figures.bos is None:
        yield "BOS: this tokenizer has none"
        return
    bos = figures.bos
    yield (
        f"BOS: the same samples with it M {bos.with_bos:.6g}, without {bos.without:.6g}; most changed is {bos.site}, "
        f"{bos.factor:.2f} x with it"
    )
