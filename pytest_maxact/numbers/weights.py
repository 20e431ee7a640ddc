"""What schemes cost the weights of linear layers: the figures of one weight, and which weight they cost most."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pytest_maxact.numbers.checked import LATER, Count, Figure, FigureAboveZero, FigureAsShare


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDistortion:
    """What a scheme costs a weight: SQNR in dB, root of the mean squared error over that of the weight, shares of
    clipped entries and of non-zero entries that become zero. `lowest_db`: the SQNR of the worst of several experts'
    matrices, of the whole where it is one matrix. `most_flushed`: the largest share of the non-zero entries of one of
    them that become zero, None in what earlier versions wrote. A matrix whose energy lies in one entry keeps its SQNR
    while nearly all of it is lost.

    `refused`: why the scheme cannot quantize it, and then the figures mean nothing.
    """

    entries: Count
    sqnr_db: Figure
    lowest_db: Figure
    rel_rmse: FigureAboveZero
    clip_rate: FigureAsShare
    flush_to_zero: FigureAsShare
    refused: str = ""
    most_flushed: FigureAsShare | None = field(default=None, metadata=LATER)

    @property
    def flushed(self) -> float | None:
        """The share that becomes zero in its worst matrix; None where that was not told, and it is several matrices, of
        which the worst has another SQNR than all.
        """
        if self.most_flushed is None and (self.lowest_db == self.sqnr_db or math.isnan(self.sqnr_db)):
            return self.flush_to_zero
        return self.most_flushed


Badness = Callable[[WeightDistortion], float]
"""What a weight is ranked by: the lower the worse, NaN before all others."""


def by_error(weight: WeightDistortion) -> float:
    return weight.lowest_db


def by_flushing(weight: WeightDistortion) -> float:
    return -(weight.flush_to_zero if weight.flushed is None else weight.flushed)


def worst_weight(
    weights: Mapping[str, Mapping[str, WeightDistortion]], scheme: str, badness: Badness = by_error
) -> str:
    """The path of the weight that a scheme costs most, one without a figure before all others, equals by name. Raises
    ValueError for none.
    """
    lowest = {path: badness(by_scheme[scheme]) for path, by_scheme in weights.items() if scheme in by_scheme}
    return min(
        lowest,
        key=lambda path: (-math.inf if math.isnan(lowest[path]) else lowest[path], not math.isnan(lowest[path]), path),
    )
