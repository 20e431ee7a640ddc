"""How far what schemes do to predictions can be trusted: sums of samples in, an interval of every figure out, in a form
that a verdict can use.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_maxact.numbers.bootstrap import intervals, unanimous
from pytest_maxact.numbers.subsets import Places, halves
from pytest_maxact.record.effect import Effect
from pytest_maxact.record.record import Record

MANY = 20
"""From so many samples on, 95 % intervals were found to hold as often as they say."""

Table = Sequence[Sequence[float]]
_AGREEMENT = 1
"""The place of the agreement among the figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedFigure:
    """A figure of a number of samples, by its name, and its 95 % interval, NaN where nothing tells, infinite where the
    samples tell no end: `W8A8.mean_kl`.
    `halves`: the figure of two halves of the samples, categories in proportion; NaN for one that holds nothing. `site`:
    of which it is, empty for one of the whole model.
    """

    name: str
    value: float
    low: float
    high: float
    samples: int
    halves: tuple[float, float]
    site: str = ""

    @property
    def untold(self) -> str:
        """Why the interval is not to be believed; empty where it is."""
        if self.samples < MANY:
            return f"too few samples: {self.samples}"
        return "" if self.holds else "no interval"

    @property
    def holds(self) -> bool:
        """Whether there are enough samples for the interval to be believed."""
        return self.samples >= MANY and not math.isnan(self.low) and not math.isnan(self.high)


def trusted_effects(record: Record, seed: int = 0) -> tuple[TrustedFigure, ...]:
    """Of every effect that keeps its samples."""
    return tuple(
        figure for name, effect in record.effects.items() if effect.by_sample for figure in _of(name, effect, seed)
    )


def _of(name: str, effect: Effect, seed: int) -> list[TrustedFigure]:
    samples = effect.by_sample
    above = [[one.kl, float(one.stays), one.nll, one.nll_under - one.nll] for one in samples]
    below = [[float(one.tokens)] * 2 + [float(one.predicted)] * 2 for one in samples]
    ends = intervals(above, below, [one.category for one in samples], seed)
    if math.isnan(ends[_AGREEMENT][0]):
        ends[_AGREEMENT] = unanimous(effect.top1_agreement, len(samples))
    parts = halves([one.category for one in samples], seed)
    figures: list[tuple[str, float, Callable[[float], float]]] = [
        ("mean_kl", effect.mean_kl, float),
        ("top1_agreement", effect.top1_agreement, _share),
        ("perplexity", effect.perplexity, _exp),
        ("perplexity_ratio", effect.perplexity_ratio, _exp),
    ]
    return [
        TrustedFigure(
            name=f"{name}.{what}", value=value, low=of(low), high=of(high), samples=len(samples),
            halves=(of(_ratio(above, below, place, parts[0])), of(_ratio(above, below, place, parts[1]))),
        )
        for place, ((what, value, of), (low, high)) in enumerate(zip(figures, ends, strict=True))
    ]  # fmt: skip


def _ratio(above: Table, below: Table, place: int, part: Places) -> float:
    """A figure of some samples: the ratio of its sums over them."""
    over = math.fsum(below[sample][place] for sample in part)
    return math.fsum(above[sample][place] for sample in part) / over if over else math.nan


def _share(value: float) -> float:
    return 1.0 if value > 1.0 else value


def _exp(nats: float) -> float:
    return math.exp(nats) if not nats >= 700 else math.inf
