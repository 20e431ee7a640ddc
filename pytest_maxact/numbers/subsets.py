"""Subsets of samples whose categories stand in proportion, drawn without putting back: the paper's bootstrap of 1 000
and 2 000 samples five times, and split halves.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

PAPER_SIZES = (1000, 2000)
PAPER_REPEATS = 5
Places = npt.NDArray[np.int64]


def subset(strata: Sequence[object], size: int, generator: np.random.Generator) -> Places:
    """Places of `size` samples, int64 [size], each category with its share by largest remainder."""
    groups = _groups(strata)
    exact = [len(group) * size / len(strata) for group in groups]
    quotas = [int(share) for share in exact]
    by_rest = sorted(range(len(groups)), key=lambda place: (quotas[place] - exact[place], place))
    for place in by_rest[: size - sum(quotas)]:
        quotas[place] += 1
    drawn = [generator.permutation(group)[:quota] for group, quota in zip(groups, quotas, strict=True)]
    return np.sort(np.concatenate(drawn).astype(np.int64))


def halves(strata: Sequence[object], seed: int = 0) -> tuple[Places, Places]:
    """All samples in two parts, each category split evenly."""
    one = subset(strata, len(strata) // 2, np.random.default_rng(seed))
    return one, np.setdiff1d(np.arange(len(strata)), one)


def _groups(strata: Sequence[object]) -> list[Places]:
    return [
        np.array([place for place, other in enumerate(strata) if other == stratum], np.int64)
        for stratum in dict.fromkeys(strata)
    ]
