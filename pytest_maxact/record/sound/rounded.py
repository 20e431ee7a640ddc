"""Magnitudes as a histogram counts them."""

import numpy as np


def rounded(values: np.ndarray, encoding: str) -> list[float]:
    """To 16 bits, to even."""
    with np.errstate(over="ignore"):
        if encoding == "float16":
            found = values.astype(np.float16).astype(np.float64)
        else:
            bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
            bits = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) & np.uint64(0xFFFF0000)
            found = bits.astype(np.uint32).view(np.float32).astype(np.float64)
    listed: list[float] = found.tolist()
    return listed
