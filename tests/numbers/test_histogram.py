"""Every figure of a histogram equals what float64 arithmetic gives on the raw values."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_maxact.numbers.histogram import BINS, INFINITY_BIN, Histogram, magnitudes
from tests.support.records import histogram

Floats = npt.NDArray[np.float64]
ENCODINGS = ("bfloat16", "float16")
patient = settings(deadline=None)
QUANTILES = ("0.001", "0.07", "0.1", "0.3", "0.5", "0.7", "0.9", "0.99", "0.999", "0.9999", "1.0")
NOTABLE = {
    "bfloat16": [
        0x0000,
        0x8000,
        0x0001,
        0x8001,
        0x007F,
        0x0080,
        0x3F80,
        0x7F7F,
        0xFF7F,
        0x7F80,
        0xFF80,
        0x7FC0,
        0xFFFF,
        0x7F81,
    ],
    "float16": [
        0x0000,
        0x8000,
        0x0001,
        0x8001,
        0x03FF,
        0x0400,
        0x3C00,
        0x7BFF,
        0xFBFF,
        0x7C00,
        0xFC00,
        0x7E00,
        0xFFFF,
        0x7C01,
    ],
}
"""Both zeros, smallest and largest subnormal, smallest normal, one, largest finite, infinities, NaNs."""


def decode(bits: list[int], encoding: str) -> Floats:
    """16-bit patterns to float64, by torch: a decoder that is not ours."""
    patterns = torch.from_numpy(np.array(bits, np.uint16).view(np.int16))
    return np.asarray(patterns.view(getattr(torch, encoding)).double().numpy())


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, Floats]:
    """An encoding and raw values of it, non-finite ones among them, the notable ones often."""
    encoding = draw(st.sampled_from(ENCODINGS))
    pattern = st.one_of(st.sampled_from(NOTABLE[encoding]), st.integers(0, 0xFFFF), st.integers(0x3C00, 0x3C40))
    return encoding, decode(draw(st.lists(pattern, max_size=200)), encoding)


def finite_magnitudes(values: Floats) -> Floats:
    return np.sort(np.abs(values[np.isfinite(values)]))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_bins_stand_for_the_values_that_torch_decodes(encoding: str) -> None:
    decoded = decode(list(range(BINS)), encoding)
    np.testing.assert_array_equal(magnitudes(encoding), decoded)
    assert math.isinf(decoded[INFINITY_BIN[encoding]])
    assert np.isfinite(decoded[: INFINITY_BIN[encoding]]).all()
    assert np.isnan(decoded[INFINITY_BIN[encoding] + 1 :]).all()


def test_values_of_bins_cannot_be_changed_by_a_caller() -> None:
    with pytest.raises(ValueError, match="read-only"):
        magnitudes("bfloat16")[3] = 1.0


@patient
@given(tensors())
@example(("bfloat16", decode(NOTABLE["bfloat16"], "bfloat16")))
@example(("float16", decode(NOTABLE["float16"], "float16")))
def test_counts_equal_those_of_the_raw_values(tensor: tuple[str, Floats]) -> None:
    encoding, values = tensor
    seen = Histogram.from_values(encoding, values)
    assert seen.count == values.size
    assert seen.nonfinite == np.count_nonzero(~np.isfinite(values))
    dense = seen.dense()
    assert dense.shape == (BINS,)
    for magnitude in np.unique(finite_magnitudes(values)):
        (place,) = np.nonzero(magnitudes(encoding) == magnitude)
        assert dense[place[0]] == np.count_nonzero(np.abs(values) == magnitude)


@patient
@given(tensors())
@example(("bfloat16", decode(NOTABLE["bfloat16"], "bfloat16")))
@example(("float16", decode(NOTABLE["float16"], "float16")))
def test_max_rms_and_mean_equal_those_of_the_raw_values(tensor: tuple[str, Floats]) -> None:
    encoding, values = tensor
    seen, sizes = Histogram.from_values(encoding, values), finite_magnitudes(values)
    assert seen.max_abs == (sizes[-1] if sizes.size else 0.0)
    mean_square = math.fsum(sizes * sizes) / sizes.size if sizes.size else 0.0
    assert seen.rms == pytest.approx(math.sqrt(mean_square), rel=1e-13, abs=0)
    assert seen.mean_abs == pytest.approx(math.fsum(sizes) / sizes.size if sizes.size else 0.0, rel=1e-13, abs=0)


@patient
@given(tensors(), st.sampled_from(QUANTILES))
@example(("bfloat16", np.arange(1.0, 101.0)), "0.07")
@example(("float16", np.arange(1.0, 1001.0)), "0.999")
def test_quantiles_are_the_entry_at_the_exact_rank(tensor: tuple[str, Floats], q: str) -> None:
    encoding, values = tensor
    sizes = finite_magnitudes(values)
    rank = math.ceil(Fraction(q) * sizes.size)
    assert Histogram.from_values(encoding, values).quantile(float(q)) == (sizes[rank - 1] if sizes.size else 0.0)


@patient
@given(tensors(), st.integers(1, 64))
def test_quantiles_agree_with_numpy_where_q_is_a_binary_fraction(tensor: tuple[str, Floats], numerator: int) -> None:
    encoding, values = tensor
    sizes, q = finite_magnitudes(values), numerator / 64
    if sizes.size:
        assert Histogram.from_values(encoding, values).quantile(q) == np.quantile(sizes, q, method="inverted_cdf")


@patient
@given(tensors(), st.data())
def test_above_counts_strictly_larger_entries(tensor: tuple[str, Floats], data: st.DataObject) -> None:
    encoding, values = tensor
    sizes = finite_magnitudes(values)
    threshold = data.draw(
        st.one_of(st.sampled_from([0.0, 1.0, 65504.0]), st.sampled_from(sizes.tolist() or [0.0]), st.floats(0, 1e6))
    )
    assert Histogram.from_values(encoding, values).above(threshold) == np.count_nonzero(sizes > threshold)


def test_binary_rounding_of_q_does_not_move_the_rank() -> None:
    hundred = histogram(np.arange(1.0, 101.0))
    assert 0.07 * 100 > 7, "the naive product is above 7, so its ceiling is 8"
    assert hundred.quantile(0.07) == 7.0


def test_quantiles_stay_exact_beyond_the_integers_of_float64() -> None:
    counts = np.zeros(BINS, np.int64)
    counts[[1, 2]] = 2**60 + 1, 2**60 - 1
    lopsided = Histogram.from_dense("bfloat16", counts)
    assert lopsided.count == 2**61
    assert lopsided.quantile(0.5) == magnitudes("bfloat16")[1]
    counts[[1, 2]] = 2**60 - 1, 2**60 + 1
    assert Histogram.from_dense("bfloat16", counts).quantile(0.5) == magnitudes("bfloat16")[2]


def test_quantile_takes_the_floats_of_numpy() -> None:
    ten = histogram(np.arange(1.0, 11.0))
    assert [ten.quantile(q) for q in np.array([0.5, 1.0])] == [5.0, 10.0]


@pytest.mark.parametrize("q", [0.0, -0.1, 1.0000001, math.nan, math.inf])
def test_quantile_outside_its_range_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="a quantile lies in"):
        histogram([1.0]).quantile(q)


@patient
@given(st.lists(st.tuples(st.integers(0, BINS - 1), st.integers(1, 2**40)), max_size=30), st.sampled_from(ENCODINGS))
def test_statistics_of_large_counts_equal_exact_rational_arithmetic(
    pairs: list[tuple[int, int]], encoding: str
) -> None:
    counts = np.zeros(BINS, np.int64)
    for place, count in pairs:
        counts[place] += count
    seen, values = Histogram.from_dense(encoding, counts), magnitudes(encoding)
    finite = [
        (Fraction(float(values[i])), int(counts[i])) for i in np.flatnonzero(counts) if i < INFINITY_BIN[encoding]
    ]
    total = sum(count for _, count in finite) or 1
    assert seen.count == counts.sum()
    assert seen.nonfinite == counts[INFINITY_BIN[encoding] :].sum()
    assert seen.mean_abs == pytest.approx(float(sum((v * n for v, n in finite), Fraction()) / total), rel=1e-12, abs=0)
    assert seen.rms == pytest.approx(
        math.sqrt(sum((v * v * n for v, n in finite), Fraction()) / total), rel=1e-12, abs=0
    )


@patient
@given(tensors(), st.data())
def test_parts_added_in_any_order_and_grouping_are_the_whole(tensor: tuple[str, Floats], data: st.DataObject) -> None:
    encoding, values = tensor
    cuts = sorted(data.draw(st.lists(st.integers(0, values.size), min_size=2, max_size=2)))
    a, b, c = (Histogram.from_values(encoding, part) for part in np.split(values, cuts))
    whole = Histogram.from_values(encoding, values)
    assert a + b == b + a
    assert (a + b) + c == a + (b + c) == c + (a + b) == whole
    assert whole + Histogram.empty(encoding) == whole == Histogram.empty(encoding) + whole


def test_addition_leaves_its_parts_as_they_were() -> None:
    one, other = histogram([1.0, 2.0]), histogram([2.0, 3.0])
    before = one.dense(), other.dense()
    assert (one + other).count == 4
    np.testing.assert_array_equal([one.dense(), other.dense()], before)


@patient
@given(tensors())
def test_dense_and_sparse_hold_the_same(tensor: tuple[str, Floats]) -> None:
    encoding, values = tensor
    seen = Histogram.from_values(encoding, values)
    assert Histogram.from_dense(encoding, seen.dense()) == seen
    assert (np.diff(seen.bins.astype(int)) > 0).all()
    assert (seen.counts > 0).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_empty_histogram_has_zero_for_every_figure(encoding: str) -> None:
    empty = Histogram.empty(encoding)
    figures = (
        empty.count,
        empty.nonfinite,
        empty.max_abs,
        empty.quantile(0.999),
        empty.rms,
        empty.mean_abs,
        empty.above(0.0),
    )
    assert figures == (0,) * 7
    assert empty + empty == empty == Histogram.from_values(encoding, np.zeros(0))


def test_nothing_but_non_finite_entries_is_told_from_nothing_at_all() -> None:
    broken = histogram([math.nan, math.inf, -math.inf])
    assert (broken.count, broken.nonfinite, broken.max_abs, broken.rms, broken.quantile(1.0), broken.above(0.0)) == (
        3,
        3,
        0.0,
        0.0,
        0.0,
        0,
    )
    assert broken != Histogram.empty("bfloat16")


def test_histograms_of_different_counts_bins_or_encodings_are_unequal() -> None:
    one = histogram([1.0, 2.0])
    assert one != histogram([1.0, 1.0, 2.0])
    assert one != histogram([1.0, 3.0])
    assert Histogram.empty("bfloat16") != Histogram.empty("float16")
    assert one != [1.0, 2.0]


def test_histograms_of_different_encodings_do_not_add() -> None:
    with pytest.raises(ValueError, match="histograms of bfloat16 and float16 do not add"):
        histogram([1.0]) + histogram([1.0], "float16")


def test_an_unknown_encoding_has_no_magnitudes() -> None:
    with pytest.raises(ValueError, match=r"'float32'; there are \['bfloat16', 'float16'\]"):
        magnitudes("float32")


@pytest.mark.parametrize(
    "build",
    [
        lambda: Histogram.from_values("float32", np.ones(1)),
        lambda: Histogram.empty("fp8"),
        lambda: Histogram.from_dense("float32", np.zeros(BINS, np.int64)),
    ],
    ids=["values", "empty", "dense"],
)
def test_no_histogram_is_built_of_an_unknown_encoding(build: Callable[[], Histogram]) -> None:
    with pytest.raises(ValueError, match="encoding"):
        build()


@pytest.mark.parametrize(
    "counts",
    [np.zeros(BINS - 1, np.int64), np.zeros((1, BINS), np.int64), np.full(BINS, -1, np.int64)],
    ids=["short", "2-d", "negative"],
)
def test_counts_of_a_wrong_form_are_refused(counts: npt.NDArray[np.int64]) -> None:
    with pytest.raises(ValueError, match="a histogram has 32768 counts, none negative"):
        Histogram.from_dense("bfloat16", counts)
