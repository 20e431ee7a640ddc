"""Pieces of large tensors, spread over them, in place of reading all of one. Bytes in, fewer bytes out."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

SCALES = ("weight_scale_inv", "weight_scale", "scales", "SCB")
"""Names of what weights are multiplied by, one of which a module has."""
_PIECE, _PIECES, _SHORT = 1024, 16, 64


def blank(raw: npt.NDArray[np.uint8]) -> bool:
    """Whether an eighth or more, and not all of a tensor, is one byte over and over, as far as is looked."""
    if raw.size < _PIECES * _SHORT:
        return False
    parts = [part[: max(_SHORT, min(part.size, _PIECE))] for part in np.array_split(raw, _PIECES)]
    same = [bool((part == part[0]).all()) for part in parts]
    return not all(same) and any(one and other for one, other in pairwise(same))


def pieces(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """All of a tensor of at most 16 KiB, else so much of it."""
    if raw.size <= _PIECE * _PIECES:
        return raw
    starts = np.linspace(0, raw.size - _PIECE, _PIECES).astype(np.int64)
    return np.concatenate([raw[start : start + _PIECE] for start in starts])
