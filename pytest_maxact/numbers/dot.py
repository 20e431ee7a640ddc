"""Sums of magnitudes times how often they occurred: block by block, however many threads there are.

A library of linear algebra cuts a longer product over as many threads as there are: its sum then goes by their number,
and the threads wait for each other longer than they compute. Its last bits still go by the kind of processor.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

_BLOCK = 8192
"""Entries that no such library shares out."""


def dot(values: npt.NDArray[np.float64], counts: npt.NDArray[Any]) -> float:
    """The sum of products of two vectors of one length."""
    weights = counts.astype(np.float64, copy=False)
    return sum(
        (
            float(np.dot(values[start : start + _BLOCK], weights[start : start + _BLOCK]))
            for start in range(0, values.size, _BLOCK)
        ),
        0.0,
    )
