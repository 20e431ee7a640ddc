"""What the model itself predicts, as plain data: how well, by category of text, against how often tokens occur.

Sums are of whole multiples of `STEP`, so that those of several parts add up to the same in any order.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from pytest_maxact.numbers.checked import Count, FigureAboveZero, Flag

STEP = 2.0**-20
"""Surprise of a token is rounded to this, in nats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Next tokens of one category that were predicted. `nll` and `unigram`: their negative log-likelihood in nats,
    summed, under the model and under the shares that tokens have in the other samples (of the category, of all, or all
    tokens alike, whichever fits these tokens best). `nonfinite`: next-token distributions that are not finite, which
    are in neither sum.
    """

    category: str
    tokens: Count
    nonfinite: Count
    nll: FigureAboveZero
    unigram: FigureAboveZero

    @property
    def surprise(self) -> float:
        """Nats per token; NaN where a distribution is not finite, or there is none."""
        return self.nll / self.tokens if self.tokens and not self.nonfinite else math.nan

    @property
    def margin(self) -> float:
        """Nats per token by which the model is better than the shares of tokens; NaN likewise."""
        return (self.unigram - self.nll) / self.tokens if self.tokens and not self.nonfinite else math.nan

    def __add__(self, other: "Predicted") -> "Predicted":
        return replace(
            self,
            tokens=self.tokens + other.tokens,
            nonfinite=self.nonfinite + other.nonfinite,
            nll=self.nll + other.nll,
            unigram=self.unigram + other.unigram,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The model's own predictions by category, in the order of their names. `unchecked` says why there are none, and
    `by_design` that there are none to tell: without a head, or where a token sees those after it.
    """

    categories: tuple[Predicted, ...] = ()
    unchecked: str = ""
    by_design: Flag = False

    @property
    def tokens(self) -> int:
        return sum(one.tokens for one in self.categories)

    @property
    def nonfinite(self) -> int:
        return sum(one.nonfinite for one in self.categories)

    @property
    def perplexity(self) -> float:
        """Over all tokens alike; NaN where a distribution is not finite, or none was told."""
        if not self.tokens or self.nonfinite:
            return math.nan
        nats = sum(one.nll for one in self.categories) / self.tokens
        return math.exp(nats) if nats < 700 else math.inf

    @property
    def margin(self) -> float:
        """Of the category in the middle: text of which a model knows nothing does not decide, nor one kind that it
        knows. NaN where any is.
        """
        margins = [one.margin for one in self.categories]
        return median(margins) if margins and not any(map(math.isnan, margins)) else math.nan

    def __add__(self, other: "Predictions") -> "Predictions":
        names = sorted({one.category for one in (*self.categories, *other.categories)})
        by_name = [[one for one in (*self.categories, *other.categories) if one.category == name] for name in names]
        return Predictions(
            categories=tuple(ones[0] if len(ones) == 1 else ones[0] + ones[1] for ones in by_name),
            unchecked=max(self.unchecked, other.unchecked),
            by_design=self.by_design and other.by_design,
        )


QUANTITIES: dict[str, Callable[[Predictions], float]] = {
    "nonfinite": lambda found: float(found.nonfinite),
    "margin": lambda found: found.margin,
    "perplexity": lambda found: found.perplexity,
}
"""What a limit may bound of predictions."""
