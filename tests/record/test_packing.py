"""Arrays packed into bytes come back as they were, in few bytes where neighbours are near, and damaged streams are
refused.
"""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact.record.packing import differences, expanded, packed, squeezed, summed, unpacked

DTYPES = (np.uint16, np.uint32, np.int64)
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: st.lists(st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)), max_size=20).map(
        lambda values: np.array(values, dtype)
    )
)


@given(arrays)
def test_any_whole_numbers_come_back(values: npt.NDArray[np.int64]) -> None:
    streams = packed("x", values)
    assert {stream.dtype for stream in streams.values()} <= {np.dtype(np.uint8)}
    back = unpacked("x", streams, values.dtype.type, len(values))
    assert back.dtype == values.dtype
    assert np.array_equal(back, values)


@given(arrays)
def test_differences_add_up_again_whatever_their_sign_and_size(values: npt.NDArray[np.int64]) -> None:
    assert np.array_equal(summed(differences(values)), values)


def test_what_is_near_its_neighbour_has_one_small_byte() -> None:
    values = np.array([1_000_000, 1_000_001, 999_999, 1_000_000], np.int64)
    assert differences(values).tolist() == [2_000_000, 2, 3, 2]
    assert set(packed("x", differences(values[1:] - values[:-1]))) == {"x.0"}


def test_the_same_array_gives_the_same_bytes() -> None:
    values = np.random.default_rng(0).integers(0, 1 << 40, 10_000)
    one, other = packed("x", values), packed("x", values.copy())
    assert one.keys() == other.keys() == {f"x.{place}" for place in range(5)}
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("entries", [0, 9, 11, 10_000])
def test_streams_of_another_length_than_expected_are_refused(entries: int) -> None:
    with pytest.raises(ValueError, match=r"bytes? where"):
        unpacked("x", packed("x", np.arange(1, 11)), np.int64, entries)


def test_streams_that_were_cut_or_lengthened_or_are_none_are_refused() -> None:
    streams = packed("x", np.arange(1, 11))
    for damaged in (streams["x.0"][:-1], np.append(streams["x.0"], np.uint8(0)), np.zeros(4, np.uint8)):
        with pytest.raises(ValueError, match=r"bytes? where|decompressing"):
            unpacked("x", {"x.0": damaged}, np.int64, 10)


@pytest.mark.parametrize("unit", [1, 2])
@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.integers(0, (1 << 32) - 1) | st.integers(0, 3), max_size=20))
def test_what_is_squeezed_comes_back(unit: int, values: list[int]) -> None:
    whole = np.array(values, np.uint32)
    assert np.array_equal(expanded("x", squeezed("x", whole, unit), whole.size, unit), whole)


def test_squeezing_learns_what_values_tell_where_that_changes() -> None:
    """Rows of other spreads, as sites have: little more is left than each row tells, and less than of `packed`."""
    generator = np.random.default_rng(0)
    rows = [generator.binomial(most, 0.5, 4000).astype(np.uint32) for most in (4, 120, 16, 240, 8, 60)]
    told = 0.0
    for row in rows:
        _, often = np.unique(row, return_counts=True)
        told -= (often * np.log2(often / row.size)).sum() / 8
    (stream,) = squeezed("x", np.concatenate(rows)).values()
    assert told < stream.size < min(1.15 * told, 0.75 * packed("x", np.concatenate(rows))["x.0"].size)


def test_squeezing_leaves_zeros_out() -> None:
    assert not squeezed("x", np.zeros(10, np.uint32))


@pytest.mark.parametrize("unit", [1, 2])
def test_squeezed_streams_that_are_damaged_or_of_another_length_are_refused(unit: int) -> None:
    stream = squeezed("x", np.arange(1, 11, dtype=np.uint32), unit)["x.0"]
    for damaged in (stream[:-1], np.append(stream, np.uint8(0)), np.full(4, 255, np.uint8)):
        with pytest.raises(ValueError, match=r"bytes? where|decompressing"):
            expanded("x", {"x.0": damaged}, 10, unit)
    for entries in (0, 9, 11, 10_000_000):
        with pytest.raises(ValueError, match=r"bytes? where|cannot hold"):
            expanded("x", {"x.0": stream}, entries, unit)
