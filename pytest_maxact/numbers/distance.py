"""How far two distributions of magnitudes lie apart: two histograms in, a share out. No torch."""

import numpy as np

from pytest_maxact.numbers.histogram import Histogram


def distance(one: Histogram, other: Histogram) -> float:
    """The largest difference between the shares of entries up to a magnitude, over all magnitudes: the distance of
    Kolmogorov and Smirnov, from 0 to 1. Of finite entries, of which both have some.
    """
    (values, counts), (others, other_counts) = one.finite(), other.finite()
    every = np.union1d(values, others)
    shares = [
        np.append(0, np.cumsum(entries))[np.searchsorted(magnitudes, every, side="right")] / entries.sum()
        for magnitudes, entries in ((values, counts), (others, other_counts))
    ]
    return float(np.abs(shares[0] - shares[1]).max())
