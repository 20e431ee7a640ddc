"""Pieces of large tensors, spread over them, in place of reading all of one. Bytes in, fewer bytes out."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

SCALES = ("weight_scale_inv", "weight_scale", "scales", "SCB")
"""Names of what weights are multiplied by, one of which a module has."""
_PIECE, _PIECES, _SHORT, _LOOK = 1024, 16, 64, 1 << 20


def stretches(raw: npt.NDArray[np.uint8]) -> list[tuple[int, int]]:
    """Where a sixteenth of a tensor or more, and not all of it, is one byte over and over: from byte to byte."""
    if raw.size < _PIECES * _SHORT:
        return []
    wide = raw.size // _PIECES
    parts = raw[: wide * _PIECES].reshape(_PIECES, wide)[:, :_PIECE]
    even = (parts == parts[:, :1]).all(1)
    if not even.any():
        return []
    edges = range(0, wide * _PIECES, wide)
    same = [int(part[0]) if own else None for part, own in zip(parts, even, strict=True)]
    found: list[tuple[int, int]] = []
    for (first, one), (last, other) in pairwise(zip(edges, same, strict=True)):
        if one is None or one != other or len(set(same)) == 1 or (found and last < found[-1][1]):
            continue
        if (end := first + _same_from(raw[first:])) > last:
            found.append((first - _same_from(raw[first::-1]) + 1, end))
    return found


def _same_from(raw: npt.NDArray[np.uint8]) -> int:
    """How many bytes are as the first."""
    for start in range(0, raw.size, _LOOK):
        if (other := raw[start : start + _LOOK] != raw[0]).any():
            return start + int(other.argmax())
    return raw.size


def pieces(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """All of a tensor of at most 16 KiB, else so much of it."""
    if raw.size <= _PIECE * _PIECES:
        return raw
    starts = [(raw.size - _PIECE) * place // (_PIECES - 1) for place in range(_PIECES)]
    return np.concatenate([raw[start : start + _PIECE] for start in starts])
