"""What a stress set did: the largest activations of every site by recipe, beside those of the corpus and apart from
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_maxact.numbers.checked import Count, FigureAboveZero
from pytest_maxact.numbers.peaks import NonFinite, Peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How many sequences and tokens a recipe made."""

    samples: Count
    tokens: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStress:
    """One site. `largest`: by recipe, inf where an entry was NaN or infinite. `peak`: the largest finite entry of all,
    None where there was none; `first_nonfinite`: the first that was not finite.
    """

    largest: Mapping[str, FigureAboveZero]
    peak: Peak | None = None
    first_nonfinite: NonFinite | None = None

    @property
    def max_abs(self) -> float:
        """The largest magnitude of all recipes."""
        return max(self.largest.values(), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stress:
    """One stress set: its seed, its recipes in the order they ran, and every site of the Record. `scanned` first tokens
    of a `vocabulary` of so many.
    """

    seed: Count
    scanned: Count
    vocabulary: Count
    recipes: Mapping[str, Recipe]
    sites: Mapping[str, SiteStress]

    @property
    def tokens(self) -> int:
        return sum(recipe.tokens for recipe in self.recipes.values())


def merged_stress(one: Stress | None, other: Stress | None) -> Stress | None:
    """Of parts of one measurement: all that either ran."""
    if one is None or other is None:
        return one or other
    names = dict.fromkeys((*one.recipes, *other.recipes))
    return Stress(
        seed=one.seed,
        scanned=max(one.scanned, other.scanned),
        vocabulary=one.vocabulary,
        recipes={name: _added(one.recipes.get(name), other.recipes.get(name)) for name in names},
        sites={name: _widest(site, other.sites[name]) for name, site in one.sites.items()},
    )


def _added(one: Recipe | None, other: Recipe | None) -> Recipe:
    parts = [part for part in (one, other) if part]
    return Recipe(samples=sum(part.samples for part in parts), tokens=sum(part.tokens for part in parts))


def _widest(one: SiteStress, other: SiteStress) -> SiteStress:
    names = dict.fromkeys((*one.largest, *other.largest))
    return SiteStress(
        largest={name: max(one.largest.get(name, 0.0), other.largest.get(name, 0.0)) for name in names},
        peak=min((peak for peak in (one.peak, other.peak) if peak), key=lambda peak: peak.order, default=None),
        first_nonfinite=one.first_nonfinite or other.first_nonfinite,
    )
