"""What a cache in low bits gives back, against arithmetic of numpy and of plain loops."""

import ml_dtypes
import numpy as np
import pytest
import torch

from pytest_maxact.checkpoint.quantize import Quantized
from pytest_maxact.checkpoint.quantize_cache import through_cache
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.bits import count_bits
from pytest_maxact.measure.observe.sums import Exact, Sums
from pytest_maxact.numbers.caches import CACHES, EXACT, Cache
from pytest_maxact.numbers.formats import static_distortion
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.sums import SchemeSums

LENGTHS = (40, 7, 64)


def states(heads: int = 2, width: int = 48, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return (torch.randn(sum(LENGTHS), heads, width, generator=generator) * 3).to(dtype)


@pytest.mark.parametrize("name", ["KV_FP8", "KV_FP8_ONE", "KV_FP8_E5M2", "KV_INT8"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_one_scale_gives_back_what_histograms_say(name: str, dtype: torch.dtype) -> None:
    how, x = CACHES[name], states(dtype=dtype) * 200
    largest = x.abs().amax().float() / 2  # beyond which entries are clipped
    kept = through_cache(x, how, True, LENGTHS, largest.view(1))
    error = (kept.restored.double() - x.double()).square().sum() / x.double().square().sum()
    counts = count_bits((x.view(torch.int16) & 0x7FFF).flatten(), 1 << 15).numpy()
    encoding = str(dtype).removeprefix("torch.")
    seen = Histogram.from_dense(encoding, counts)
    top = how.top if how.scale == "one" else float(largest)
    told = static_distortion(seen, how.number, how.top, top, encoding)
    assert told.rel_rmse == pytest.approx(float(error.sqrt()), rel=1e-9)
    assert told.clip_rate == pytest.approx(float(kept.clipped.float().mean()), abs=1e-6)


def test_every_head_has_a_scale_of_its_own() -> None:
    x = states()
    x[:, 1] *= 64
    largest = x.abs().amax((0, 2)).float()
    kept = through_cache(x, CACHES["KV_FP8_HEAD"], True, LENGTHS, largest)
    for head in range(2):
        scale = np.float32(largest[head]) / np.float32(448)
        levels = (x[:, head].float().numpy() / scale).astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
        assert torch.equal(kept.restored[:, head], torch.from_numpy(levels * scale).bfloat16())


@pytest.mark.parametrize("name", ["KV_INT8_PER_TOKEN_HEAD", "KV_FP8_PER_TOKEN_HEAD"])
def test_every_token_of_a_head_has_a_scale_of_its_own(name: str) -> None:
    how, x = CACHES[name], states()
    kept = through_cache(x, how, True, LENGTHS)
    for token, head in ((0, 0), (5, 1), (110, 1)):
        row = x[token, head].float().numpy()
        scale = np.maximum(np.abs(row).max() / np.float32(how.top), np.float32(1e-6))
        scaled = row / scale
        levels = np.rint(scaled) if how.is_integer else scaled.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
        assert torch.equal(kept.restored[token, head], torch.from_numpy(levels * scale).bfloat16())
    assert not kept.clipped.any()


def test_a_token_of_a_head_is_rotated_before_it_gets_a_scale_and_a_zero_point() -> None:
    how, x = CACHES["KV_INT4_PER_TOKEN_HEAD"], states(width=64, dtype=torch.float32)
    kept = through_cache(x, how, True, LENGTHS).restored
    assert not through_cache(torch.zeros(1, 1, 64), how, True, [1]).restored.any()
    rotation = np.array([[1.0]])
    while len(rotation) < 64:
        rotation = np.block([[rotation, rotation], [rotation, -rotation]])
    draw = torch.Generator().manual_seed(0x9E3779B9)
    rotation = rotation * (2 * torch.bernoulli(torch.full((64,), 0.5), generator=draw).numpy() - 1)
    for token, head in ((0, 0), (5, 1), (110, 1)):
        turned = rotation @ x[token, head].double().numpy()
        scale = (turned.max() - turned.min()) / 15
        zero = np.floor(-turned.min() / scale + 0.5)
        codes = np.clip(np.floor(turned / scale + zero + 0.5), 0, 15)
        wanted = rotation.T @ ((codes - zero) * scale) / 64
        assert np.abs(kept[token, head].double().numpy() - wanted).max() < 1e-4
    x[:, 0, 3] += 60
    plain = through_cache(x, Cache(number="int4", shared="token"), True, LENGTHS).restored
    rotated = through_cache(x, how, True, LENGTHS).restored
    lost = [float((found - x)[:, 0].square().mean()) for found in (plain, rotated)]
    assert lost[1] < lost[0] / 2, "one wide channel takes the range of all where nothing mixes them"


@pytest.mark.parametrize(
    ("name", "width", "why"),
    [
        ("KV_INT4_PER_TOKEN_HEAD", 48, "heads of 48 channels, which a Hadamard matrix cannot rotate"),
        ("KV_NVFP4", 40, "heads of 40 channels, no multiple of its groups of 16"),
        ("KV_NVFP4_4OVER6_ONE", 8, "heads of 8 channels, no multiple of its groups of 16"),
    ],
)
def test_heads_that_cannot_be_kept_are_refused(name: str, width: int, why: str) -> None:
    with pytest.raises(MeasureError, match=why):
        through_cache(states(width=width), CACHES[name], True, LENGTHS)


def test_keys_have_a_scale_per_channel_and_32_tokens_and_the_last_of_a_sequence_stay() -> None:
    how, x = CACHES["KV_INT4"], states(dtype=torch.float32)
    kept = through_cache(x, how, True, LENGTHS)
    group = x[47:79]  # the first of the third sequence
    low, high = group.amin(0), group.amax(0)
    scale = (high - low) / 15
    assert torch.allclose(kept.restored[47:79], ((group - low) / scale).round() * scale + low)
    assert torch.equal(x, states(dtype=torch.float32))
    assert torch.equal(kept.restored[32:47], x[32:47])  # 8 of the first, all 7 of the second
    assert not torch.equal(kept.restored[:32], x[:32])
    assert len(torch.unique(kept.restored[47:79, 0, 0])) <= 16


def test_values_have_a_scale_per_token_and_32_channels() -> None:
    how, x = CACHES["KV_INT4"], states(dtype=torch.float32)
    kept = through_cache(x, how, False, LENGTHS)
    for channels in (slice(0, 32), slice(32, 48)):
        group = x[5, 1, channels]
        scale = (group.max() - group.min()) / 15
        wanted = ((group - group.min()) / scale).round() * scale + group.min()
        assert torch.allclose(kept.restored[5, 1, channels], wanted)


def test_a_bias_of_one_channel_ruins_scales_per_token_and_not_those_per_channel() -> None:
    x = states(dtype=torch.float32)
    x[:, 0, 3] += 900
    per_token = Cache(number="int4", shared="token")
    lost = {
        how.shared: float((through_cache(x, how, True, LENGTHS).restored - x)[:, 0, 4:].square().mean())
        for how in (per_token, CACHES["KV_INT4"])
    }
    assert lost["token"] > 5 > 1 > lost["channel"]


def test_zeros_and_what_is_no_number_stay_what_they_are() -> None:
    x = torch.zeros(4, 1, 16)
    x[1, 0, 2] = torch.nan
    for name, how in CACHES.items():
        kept = through_cache(x, how, True, (4,), torch.zeros(1)).restored
        assert kept[1, 0, 2].isnan(), name
        assert not kept[0].any(), name


def test_a_scale_from_all_of_the_text_is_given_like_one_from_calibration() -> None:
    x = states()
    largest = x.abs().amax().float().view(1)
    exact, calibrated = (through_cache(x, CACHES[name], True, LENGTHS, largest) for name in ("KV_FP8_EXACT", "KV_FP8"))
    assert CACHES["KV_FP8_EXACT"].scale == EXACT
    assert torch.equal(exact.restored, calibrated.restored)


def kept_in_four_bits(x: torch.Tensor, keys: bool) -> tuple[SchemeSums, torch.Tensor]:
    """What is counted of states [tokens, heads, width], and what is restored of them."""
    kept = through_cache(x, CACHES["KV_INT4"], keys, (len(x),))
    sums = Sums(x.device)
    sums.take(Exact.of(x.flatten(1)), Quantized(kept.restored.flatten(1), kept.levels.flatten(1), kept.clipped), True)
    return sums.read(), kept.restored


@pytest.mark.parametrize("size", [0.1, 3000.0, 40000.0])
def test_keys_that_make_no_group_lose_nothing_whatever_their_size(size: float) -> None:
    found, restored = kept_in_four_bits(states(dtype=torch.float32)[:31] * size, True)
    assert restored.equal(states(dtype=torch.float32)[:31] * size)
    assert (found.flushed, found.error, found.levels) == (0, 0.0, (1,))


@pytest.mark.parametrize("keys", [True, False])
def test_a_zero_that_a_zero_point_moves_is_not_taken_from_those_that_become_zero(keys: bool) -> None:
    x = states(dtype=torch.float32)[:40]
    x[::3] = 0.0
    x[:, :, ::5] = 0.0
    found, restored = kept_in_four_bits(x, keys)
    assert (restored[x == 0] != 0).any()
    assert found.flushed == int(((x != 0) & (restored == 0)).sum())


def test_small_entries_that_zero_points_keep_at_zero_are_counted() -> None:
    x = torch.zeros(32, 1, 32)
    x[:, :, 0], x[:, :, 1:4] = 15.0, 0.2
    found, _ = kept_in_four_bits(x, False)
    assert (found.flushed, found.nonzero) == (32 * 3, 32 * 4)
