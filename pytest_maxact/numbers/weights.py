"""What schemes cost the weights of linear layers: the figures of one weight, and which weight they cost most."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDistortion:
    """What a scheme costs a weight: SQNR in dB, root of the mean squared error over that of the weight, shares of
    clipped entries and of non-zero entries that become zero. `lowest_db`: the SQNR of the worst of several experts'
    matrices, of the whole where it is one matrix.

    `refused`: why the scheme cannot quantize it, and then the figures mean nothing.
    """

    entries: int
    sqnr_db: float
    lowest_db: float
    rel_rmse: float
    clip_rate: float
    flush_to_zero: float
    refused: str = ""


def worst_weight(weights: Mapping[str, Mapping[str, WeightDistortion]], scheme: str) -> str:
    """The path of the weight that a scheme costs most, one without a figure before all others, equals by name. Raises
    ValueError for none.
    """
    lowest = {path: by_scheme[scheme].lowest_db for path, by_scheme in weights.items() if scheme in by_scheme}
    return min(
        lowest,
        key=lambda path: (-math.inf if math.isnan(lowest[path]) else lowest[path], not math.isnan(lowest[path]), path),
    )
