"""A cache in NVFP4 against a walk over single entries in numpy, with ml_dtypes for both formats."""

import ml_dtypes
import numpy as np
import pytest
import torch

from pytest_maxact.checkpoint.quantize_cache import through_cache
from pytest_maxact.numbers.caches import CACHES

NAMES = ("KV_NVFP4", "KV_NVFP4_ONE", "KV_NVFP4_4OVER6", "KV_NVFP4_4OVER6_ONE")
one = np.float32(1)


def states(dtype: torch.dtype = torch.bfloat16, tokens: int = 24) -> torch.Tensor:
    """Heads of very different size, some groups of zeros, some entries far beyond the rest."""
    draw = torch.Generator().manual_seed(17)
    x = torch.randn(tokens, 3, 48, generator=draw) * torch.tensor([0.02, 1.0, 40.0])[:, None]
    x[::5, :, 16:32] = 0.0
    x[3, 1, 7] = -300.0
    return x.to(dtype)


def by_entry(group: np.ndarray, k_scale: np.float32, peaks: tuple[float, ...]) -> np.ndarray:
    """16 entries as they come back: each candidate scale tried in turn, every entry by itself."""
    given = one / k_scale
    tried = []
    for peak in peaks:
        stored = (given * (np.abs(group).max() * (one / np.float32(peak)))).clip(max=448)
        stored = np.float32(stored.astype(ml_dtypes.float8_e4m3fn))
        factor = one / (stored * (one / given)) if stored else np.float32(0)
        codes = [np.float32(ml_dtypes.float4_e2m1fn(min(max(entry * factor, -6), 6))) for entry in group]
        back = np.array([code * stored * k_scale for code in codes], np.float32)
        tried.append((float(((back - group).astype(np.float64) ** 2).sum()), back))
    best = tried[0]
    for other in tried[1:]:
        best = other if other[0] < best[0] * (1 - 1e-6) else best
    return best[1]


def wanted(x: torch.Tensor, name: str, largest: float) -> np.ndarray:
    how = CACHES[name]
    k_scale = np.float32(largest) / np.float32(6 * 448) if how.scale == "calibration" else one
    groups = x.float().numpy().reshape(-1, 16)
    return np.stack([by_entry(group, k_scale, how.peaks) for group in groups]).reshape(x.shape)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("reach", [1.0, 0.3])
def test_every_entry_comes_back_as_the_store_kernel_keeps_it(name: str, dtype: torch.dtype, reach: float) -> None:
    x = states(dtype)
    largest = float(x.abs().max()) * reach
    kept = through_cache(x, CACHES[name], True, (len(x),), torch.tensor([largest]))
    assert kept.restored.dtype == dtype
    assert torch.equal(kept.restored, torch.from_numpy(wanted(x, name, largest)).to(dtype))
    levels = {0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0}
    assert set(kept.levels.abs().unique().tolist()) == levels
    if CACHES[name].scale == "calibration":
        assert kept.clipped.equal(x.float().abs() > largest * (1 + 1e-6))
    else:
        assert not kept.clipped.any()


@pytest.mark.parametrize(
    ("entry", "level"),
    [(0.25, 0), (0.251, 0.5), (0.74, 0.5), (0.75, 1), (1.25, 1), (1.75, 2), (2.5, 2), (3.5, 4), (5, 4), (5.1, 6)],
)
def test_halfway_goes_to_the_even_level(entry: float, level: float) -> None:
    group = torch.full((1, 1, 16), 6.0)
    group[..., 3], group[..., 4] = entry, -entry
    kept = through_cache(group, CACHES["KV_NVFP4_ONE"], True, (1,))
    assert kept.restored[0, 0, 2:5].tolist() == [6.0, level, -level]


def test_a_group_too_small_for_a_scale_of_its_own_is_zero_at_1_0_and_kept_when_calibrated() -> None:
    x = torch.full((1, 1, 16), 0.005)  # over 6 less than half of 2^-9, the smallest number of E4M3
    assert not through_cache(x, CACHES["KV_NVFP4_ONE"], True, (1,)).restored.any()
    assert torch.allclose(through_cache(x, CACHES["KV_NVFP4"], True, (1,), torch.tensor([0.005])).restored, x)


def test_four_is_chosen_where_six_errs_more_and_never_where_it_does_not() -> None:
    x = torch.tensor([8.0, 6.0] * 8).view(1, 1, 16)
    six, four = (through_cache(x, CACHES[name], True, (1,)) for name in ("KV_NVFP4_ONE", "KV_NVFP4_4OVER6_ONE"))
    assert torch.equal(four.restored, x)
    assert four.levels.unique().tolist() == [3.0, 4.0]
    assert not torch.equal(six.restored, x)
    x = states(torch.float32, tokens=200)
    lost = [
        (through_cache(x, CACHES[name], True, (len(x),)).restored - x).unflatten(-1, (-1, 16)).square().sum(-1)
        for name in ("KV_NVFP4_ONE", "KV_NVFP4_4OVER6_ONE")
    ]
    assert (lost[1] <= lost[0]).all()
    assert lost[1].sum() < 0.95 * lost[0].sum()


def test_six_is_kept_where_both_err_alike() -> None:
    kept = through_cache(torch.full((1, 1, 16), 6.0), CACHES["KV_NVFP4_4OVER6_ONE"], True, (1,))
    assert kept.levels.unique().tolist() == [6.0]


def test_a_scale_of_heads_is_none_of_this_cache_and_one_of_the_tensor_holds_for_all() -> None:
    x = states(torch.float32)
    whole = through_cache(x, CACHES["KV_NVFP4"], True, (len(x),), x.abs().amax().view(1)).restored
    alone = through_cache(x[:, :1], CACHES["KV_NVFP4"], True, (len(x),), x.abs().amax().view(1)).restored
    assert torch.equal(whole[:, :1], alone)
