"""Energies as small whole numbers: near what they were, and sums of them nearer still."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.numbers.energies import HIGHEST, STEPS, SampleSums, codes_of, energies_of

finite = st.floats(min_value=5e-324, max_value=1.7e308)


@given(st.lists(finite, min_size=1, max_size=20))
def test_an_energy_comes_back_within_half_a_step(energies: list[float]) -> None:
    codes = codes_of(np.array(energies))
    assert codes.min() > 0
    assert codes.max() <= HIGHEST
    apart = np.log2(energies_of(codes)) - np.log2(energies)
    assert np.abs(apart).max() <= 0.5 / STEPS + 1e-9
    assert np.array_equal(codes_of(energies_of(codes)), codes)


def test_no_energy_is_kept_as_none() -> None:
    assert energies_of(codes_of(np.zeros(3))).tolist() == [0.0, 0.0, 0.0]


def test_a_ratio_of_sums_is_off_by_a_thousandth_where_samples_differ() -> None:
    generator = np.random.default_rng(0)
    signal, error = generator.gamma(3.0, 1e4, 200), generator.gamma(2.0, 1.0, 200)
    kept = energies_of(codes_of(error)).sum() / energies_of(codes_of(signal)).sum()
    assert kept == pytest.approx(error.sum() / signal.sum(), rel=2e-3)


def test_groups_have_what_their_samples_have_together_and_others_keep_their_own() -> None:
    def of(*energies: float) -> SampleSums:
        return SampleSums(codes_of(np.array(energies)), {"W8A8": codes_of(np.array(energies) / 16)})

    whole = of(1.0, 2.0, 4.0, 0.0)
    summed = whole.summed(np.array([0, 1, 1, 1]))
    assert energies_of(summed.signal) == pytest.approx([1.0, 6.0], rel=0.011)
    assert energies_of(summed.errors["W8A8"]) == pytest.approx([1 / 16, 6 / 16], rel=0.011)
    assert of(1.0, 2.0) + of(4.0, 0.0) == whole
    assert whole.ordered([3, 0, 1, 2]) == of(0.0, 1.0, 2.0, 4.0)
    assert whole != of(1.0, 2.0, 4.0, 1.0)
