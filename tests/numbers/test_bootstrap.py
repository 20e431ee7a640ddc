"""Intervals of figures of samples hold the truth as often as they say."""

import math

import numpy as np
import pytest

from pytest_maxact.numbers.bootstrap import DRAWS, drawn, intervals


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(7)
    held, tries, truth = 0, 200, 0.3
    for seed in range(tries):
        tokens = generator.integers(50, 500, 60).astype(float)
        rates = generator.gamma(2.0, truth / 2.0, 60)  # skewed, as divergences are
        (low, high), *_ = intervals((rates * tokens)[:, None], tokens[:, None], seed=seed)
        held += low <= truth <= high
    assert 0.88 * tries <= held <= 0.99 * tries


def test_an_interval_surrounds_its_figure_and_narrows_with_more_samples() -> None:
    generator = np.random.default_rng(3)
    widths = []
    for samples in (20, 80, 320):
        sums = generator.gamma(2.0, 1.0, (samples, 1))
        (low, high), *_ = intervals(sums, np.ones((samples, 1)))
        assert low < sums.mean() < high
        widths.append(high - low)
    assert widths[0] > 1.5 * widths[1] > 2.2 * widths[2]


def test_the_same_sums_give_the_same_interval_whatever_stands_beside_them() -> None:
    sums, tokens = np.arange(12.0).reshape(6, 2), np.ones((6, 1))
    both = intervals(sums, tokens)
    assert both == intervals(sums, tokens)
    assert both[:1] == intervals(sums[:, :1], tokens)
    assert both != intervals(sums, tokens, seed=1)


def test_categories_keep_their_shares_in_every_draw() -> None:
    strata = ["code"] * 3 + ["math"] * 5
    counts = drawn(strata)
    assert counts.shape == (DRAWS, 8)
    assert (counts[:, :3].sum(1) == 3).all()
    assert (counts[:, 3:].sum(1) == 5).all()
    between = np.array([[0.0]] * 3 + [[1.0]] * 5)
    assert intervals(between, np.ones((8, 1)), strata) == [(5 / 8, 5 / 8)]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_sum_that_is_not_finite_has_no_interval_and_costs_its_neighbour_none(broken: float) -> None:
    sums = np.array([[1.0, 1.0], [broken, 2.0], [3.0, 3.0]])
    of_broken, other = intervals(sums, np.ones((3, 1)))
    assert all(map(math.isnan, of_broken))
    assert other == intervals(sums[:, 1:], np.ones((3, 1)))[0]


def test_one_sample_tells_no_interval_and_neither_does_nothing_to_divide_by() -> None:
    assert all(map(math.isnan, intervals([[1.0]], [[2.0]])[0]))
    assert all(map(math.isnan, intervals([[1.0], [2.0]], [[0.0], [0.0]])[0]))
