"""The massive-activation test of Sun et al. (COLM 2024) on tensors: |x| > 100 and |x| > 1000 times the median |x| of
its row. On the CPU only candidate rows are looked at; elsewhere all rows are, and the host does not wait.
"""

import numpy as np
import torch

from pytest_maxact.measure.observe.bits import key_of, value_of

MASSIVE_ABOVE = 100.0
_RATIO = 1000.0
_SMALLEST = 2.0**-133


def massive_counts(key: torch.Tensor, row_max: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Tokens and entries that are massive, and the largest ratio to the median (-1 for none): float64 [3].

    `key` [rows, width] are magnitudes as ordered integers, `row_max` [rows] the largest of each row, below 0 for a row
    that does not count. The median is the lower of the two middle ones, as `torch.median` has it; a median of 0 counts
    as the smallest positive bfloat16.
    """
    return (massive_on_host if key.device.type == "cpu" else massive_on_device)(key, row_max, dtype)


def massive_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows [n, width] with an entry that meets the criterion of Sun et al. within its own row: bool [n]."""
    magnitude = rows.abs()
    candidate = magnitude.amax(dim=1) > MASSIVE_ABOVE
    if rows.device.type == "cpu":
        found = candidate.clone()
        if candidate.any():
            part = magnitude[candidate].float()
            found[candidate] = part.amax(dim=1) > part.median(dim=1).values * _RATIO
        return found
    magnitude = magnitude.float()
    return candidate & (magnitude.amax(dim=1) > magnitude.median(dim=1).values * _RATIO)


def massive_on_host(key: torch.Tensor, row_max: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Looks at candidate rows only."""
    limit = key_of(MASSIVE_ABOVE, dtype)
    candidate = row_max > limit
    if not candidate.any():
        return torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)
    key, row_max = key[candidate], row_max[candidate]
    middle = (key.shape[1] - 1) // 2
    median = value_of(torch.from_numpy(np.partition(key.numpy(), middle, axis=1)[:, middle].copy()), dtype)
    peak = value_of(row_max.to(key.dtype), dtype)
    massive = peak > median * _RATIO
    passing = (key[massive] > limit) & (value_of(key[massive], dtype) > (median[massive] * _RATIO)[:, None])
    return torch.stack([massive.sum().double(), passing.sum().double(), (peak / median.clamp(min=_SMALLEST)).amax()])


def massive_on_device(key: torch.Tensor, row_max: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """All rows at once: no shape depends on the data."""
    median = key.kthvalue((key.shape[1] - 1) // 2 + 1, dim=1).values
    bound = value_of(median, dtype) * _RATIO
    passing = (key > key_of(MASSIVE_ABOVE, dtype)) & (value_of(key, dtype) > bound[:, None])
    return massive_of_rows(row_max, median, passing.sum(dim=1), dtype)


def massive_of_rows(
    row_max: torch.Tensor, median: torch.Tensor, entries: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """From the largest key of every row, its median's, and how many entries are above the threshold and 1000 medians.
    Medians and entries of rows below the threshold have no meaning.
    """
    integers = torch.int32 if dtype == torch.float32 else torch.int16
    candidate = row_max > key_of(MASSIVE_ABOVE, dtype)
    middle, peak = value_of(median.to(integers), dtype), value_of(row_max.to(integers), dtype)
    massive = candidate & (peak > middle * _RATIO)
    ratio = torch.where(candidate, peak / middle.clamp(min=_SMALLEST), -1.0).amax()
    return torch.stack([massive.sum().double(), torch.where(massive, entries, 0).sum().double(), ratio])
