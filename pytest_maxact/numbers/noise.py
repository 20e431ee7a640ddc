"""How far a figure moves when the same text is measured again: the noise floor of a measurement, as plain data.

A difference below it says nothing of the weights. It is measured (`measure/repeat/`), or taken as the spread that the
arithmetic is known for (`documented`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from pytest_maxact.numbers.checked import FigureAboveZero, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far figures of one site lie apart: largest magnitudes as a share of the smaller, distributions as the
    distance of Kolmogorov and Smirnov, signal-to-noise ratios in dB. Infinite where one of two is no number.
    """

    max_abs: FigureAboveZero = 0.0
    shift: FigureAboveZero = 0.0
    sqnr_db: FigureAboveZero = 0.0

    def widened(self, other: "Spread") -> "Spread":
        """The larger of each."""
        return Spread(**{one.name: max(getattr(self, one.name), getattr(other, one.name)) for one in fields(Spread)})

    def within(self, most: "Spread") -> "Spread":
        """The smaller of each; also of what is no number."""
        return Spread(**{one.name: _least(getattr(self, one.name), getattr(most, one.name)) for one in fields(Spread)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What a measurement of a few samples gave when it was repeated: under which `conditions`, and the spread of every
    site over them. `left_out`: conditions that this model or machine does not have, and why.
    """

    samples: Size
    tokens: Size
    conditions: tuple[str, ...]
    sites: dict[str, Spread]
    left_out: tuple[str, ...] = ()


MOST = Spread(max_abs=0.1, shift=0.02, sqnr_db=1.0)
"""No spread counts for more: a measurement that repeats itself worse is unfit to hide what it shows."""
DOCUMENTED: Mapping[str, Spread] = MappingProxyType(
    {
        "float32": Spread(max_abs=1e-4, shift=1e-4, sqnr_db=0.01),
        "float16": Spread(max_abs=0.01, shift=0.004, sqnr_db=0.1),
        "bfloat16": Spread(max_abs=0.05, shift=0.01, sqnr_db=0.6),
    }
)
"""Of models measured in a dtype whose repetition was not measured (docs/trust.md says on which figures they rest)."""


def merged_noise(one: Noise | None, other: Noise | None) -> Noise | None:
    """That of parts of one measurement together, each repeated on samples of the whole; None where one part was not."""
    if one is None or other is None:
        return None
    return Noise(
        samples=max(one.samples, other.samples),
        tokens=max(one.tokens, other.tokens),
        conditions=tuple(dict.fromkeys((*one.conditions, *other.conditions))),
        left_out=tuple(dict.fromkeys((*one.left_out, *other.left_out))),
        sites={name: spread.widened(other.sites[name]) for name, spread in one.sites.items()},
    )


def documented(dtype: str) -> Spread:
    """That of an arithmetic; of one that is not known none, which excuses nothing."""
    return DOCUMENTED.get(dtype, Spread())


def _least(one: float, most: float) -> float:
    return one if one < most else most
