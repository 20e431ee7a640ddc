"""What a stress set did, for a program."""

from dataclasses import asdict
from typing import Any

from pytest_maxact.judge.trust.stress import StressFigures
from pytest_maxact.report.data.null import finite_or_null, plain


def stress_data(figures: StressFigures) -> dict[str, Any]:
    """`{"M", "corpus_M", "ratio", "recipes": {name: {"samples", "tokens", "M"}}, "bos": {...}, "sites": {...}}`; what
    is not finite is null, and its site stands in `nonfinite`, or in `corpus_nonfinite`.
    """
    stress = figures.stress
    return {
        "seed": stress.seed,
        "tokens": stress.tokens,
        "first_tokens": {"scanned": stress.scanned, "vocabulary": stress.vocabulary},
        "M": finite_or_null(figures.largest),
        "corpus_M": finite_or_null(figures.corpus),
        "ratio": finite_or_null(figures.factor),
        "site": figures.site,
        "nonfinite": list(figures.broken),
        "corpus_nonfinite": list(figures.corpus_broken),
        "recipes": {
            name: {**asdict(recipe), "M": finite_or_null(figures.recipes[name])}
            for name, recipe in stress.recipes.items()
        },
        "bos": plain(asdict(figures.bos)) if figures.bos else None,
        "sites": {
            one.site: {
                "max_abs": finite_or_null(one.stress),
                "corpus": finite_or_null(one.corpus),
                "ratio": finite_or_null(one.ratio),
                "recipe": one.recipe,
                "peak": asdict(one.peak) if one.peak else None,
                "by_recipe": plain(stress.sites[one.site].largest),
            }
            for one in figures.sites
        },
    }
