"""The massive-activation test by direct computation: on the host, the way a device goes, and for rows on their own."""

import pytest
import torch

from pytest_maxact.measure.observe.bits import encode, key_of, value_of
from pytest_maxact.measure.observe.massive import massive_counts, massive_on_device, massive_on_host, massive_rows

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
WAYS = [massive_on_host, massive_on_device, massive_counts]


def found(way: object, rows: torch.Tensor, skipped: tuple[int, ...] = ()) -> list[float]:
    seen = encode(rows)
    largest = seen.key.amax(dim=1).long()
    largest[list(skipped)] = -1
    return way(seen.key, largest, rows.dtype).tolist()  # type: ignore[operator,no-any-return]


def row(*values: float, width: int = 9, rest: float = 0.0625) -> list[float]:
    return [*values, *[rest] * (width - len(values))]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("rows", "skipped", "expected"),
    [
        ([row(100.0), row(-64.0)], (), [0, 0, -1]),  # not above 100
        ([row(112.0)], (), [1, 1, 1792]),
        ([row(-112.0, 104.0, 96.0, 63.0)], (), [1, 2, 1792]),  # 96 is below 100
        ([row(125.0, -104.0, 120.0, rest=0.125)], (), [0, 0, 1000]),  # not above a thousand medians
        ([row(126.0, 125.0, rest=0.125)], (), [1, 1, 1008]),
        ([row(128.0, 100.0)], (), [1, 1, 2048]),
        ([row(112.0), row(128.0), row(1.0)], (), [2, 2, 2048]),
        ([row(112.0), row(128.0), row(1.0)], (1,), [1, 1, 1792]),
        ([row(112.0), row(128.0), row(1.0)], (0, 1), [0, 0, -1]),
        ([row(128.0, rest=1.0), row(112.0)], (), [1, 1, 1792]),
        ([row(128.0, rest=64.0), row(112.0, rest=28.0)], (), [0, 0, 4]),
    ],
)
def test_tokens_entries_and_largest_ratio(
    way: object, dtype: torch.dtype, rows: list[list[float]], skipped: tuple[int, ...], expected: list[float]
) -> None:
    assert found(way, torch.tensor(rows, dtype=dtype), skipped) == expected


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_median_is_the_lower_of_two_middle_ones_and_zero_counts_as_the_smallest(
    way: object, dtype: torch.dtype
) -> None:
    assert found(way, torch.tensor([[128.0, 64.0, 0.25, 0.125]], dtype=dtype)) == [0, 0, 512]
    assert found(way, torch.tensor([[128.0, 0.0625, 64.0, 128.0, 0.03125]], dtype=dtype)) == [0, 0, 2]
    assert found(way, torch.tensor([[128.0, 0.0, 0.0]], dtype=dtype)) == [1, 1, 2.0**140]


@pytest.mark.parametrize(("dtype"), [torch.bfloat16, torch.float32])
def test_rows_are_massive_by_their_own_median(dtype: torch.dtype) -> None:
    rows = torch.tensor(
        [row(100.0), row(112.0), row(-112.0), row(125.0, rest=0.125), row(126.0, rest=-0.125), row(8.0)], dtype=dtype
    )
    assert massive_rows(rows).tolist() == [False, True, True, False, True, False]
    assert massive_rows(rows[:1]).tolist() == [False]
    assert massive_rows(torch.tensor([[128.0, 64.0, 0.125, 0.0625]], dtype=dtype)).tolist() == [True]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.0, 1.0, 100.0, 6.103515625e-05, 65504.0, 57344.0])
def test_keys_are_ordered_like_magnitudes_and_lead_back(dtype: torch.dtype, value: float) -> None:
    rounded = torch.tensor([[value, -value]], dtype=dtype)
    seen = encode(rounded)
    assert seen.key.tolist() == [[key_of(value, dtype)] * 2]
    assert value_of(seen.key, dtype).tolist() == [[rounded[0, 0].item()] * 2]
    assert value_of(seen.key, dtype).dtype == torch.float64
    assert int(seen.key.max()) < seen.infinity
    broken = encode(torch.tensor([[float("inf"), -float("inf"), float("nan"), -float("nan")]], dtype=dtype))
    assert bool((broken.key >= broken.infinity).all())
    assert broken.key[0, 0] == broken.infinity


@pytest.mark.parametrize(
    ("dtype", "values", "bins", "encoding"),
    [
        (torch.bfloat16, [1.0, -2.0, 0.0, -0.0], [0x3F80, 0x4000, 0, 0], "bfloat16"),
        (torch.float16, [1.0, -2.0, 0.0, -0.0], [0x3C00, 0x4000, 0, 0], "float16"),
        (torch.float32, [1.001, -1.997, 0.0, 3.4e38], [0x3F80, 0x4000, 0, 0x7F80], "bfloat16"),
        (torch.float64, [1.001, -1.997, 1e-60, 1e300], [0x3F80, 0x4000, 0, 0x7F80], "bfloat16"),
    ],
)
def test_bins_are_those_of_the_encoding(
    dtype: torch.dtype, values: list[float], bins: list[int], encoding: str
) -> None:
    seen = encode(torch.tensor([values], dtype=dtype))
    assert (seen.bits.tolist(), seen.encoding) == ([bins], encoding)
    assert seen.values.dtype == (torch.float32 if dtype == torch.float64 else dtype)
