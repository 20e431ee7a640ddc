"""A running maximum against tokens: its curve, where it last rose, and what many orders say of its last half."""

from typing import Any

import numpy as np
import pytest

from pytest_maxact.numbers.saturation import ORDERS, Saturation, saturation, shuffled

TOKENS = np.full(200, 10, np.int64)


def of(magnitudes: Any, tokens: Any = TOKENS, seed: int = 0) -> Saturation:
    found = np.asarray(magnitudes, float)
    return saturation(found, tokens[: len(found)], shuffled(len(found), seed))


def test_a_curve_rises_to_the_maximum_within_its_band() -> None:
    curve = of(np.random.default_rng(0).exponential(1.0, 200))
    assert list(curve.mean) == sorted(curve.mean)
    assert curve.tokens[-1] == 2000
    assert curve.mean[-1] == curve.low[-1] == curve.high[-1]
    assert all(low <= mean <= high for low, mean, high in zip(curve.low, curve.mean, curve.high, strict=True))


def test_one_sample_that_holds_the_maximum_comes_late_in_half_of_all_orders() -> None:
    curve = of([1.0] * 199 + [5.0])
    assert curve.holders == 1
    assert curve.late == pytest.approx(0.5, abs=0.15)
    assert curve.last_half == pytest.approx(0.8 * curve.late)
    assert curve.last_rose == 2000


def test_a_plateau_that_many_samples_reach_is_met_early() -> None:
    curve = of([5.0, 1.0] * 100)
    assert curve.holders == 100
    assert curve.late == 0.0
    assert curve.last_half == 0.0
    assert curve.last_rose == 10


def test_the_mean_of_many_orders_is_the_expected_maximum_of_so_many_samples() -> None:
    """Of the numbers 1 to N, d drawn without putting back expect d (N + 1) / (d + 1)."""
    magnitudes = np.arange(200) + 1.0
    curve = of(magnitudes)
    for tokens, mean in zip(curve.tokens, curve.mean, strict=True):
        drawn = tokens // 10
        assert mean == pytest.approx(201 * drawn / (drawn + 1), abs=4 * 201 / np.sqrt(ORDERS) / (drawn + 1))


def test_long_samples_count_by_their_tokens() -> None:
    curve = of([3.0, 1.0, 2.0], np.array([98, 1, 1]))
    assert curve.last_rose == 98


def test_a_curve_begins_where_every_order_holds_a_whole_sample() -> None:
    """Before that some have seen nothing, which is no maximum of zero."""
    assert of([3.0, 1.0, 2.0], np.array([98, 1, 1])).tokens == (100,)
    curve = of([3.0, 1.0, 2.0, 2.0], np.array([40, 20, 20, 20]))
    assert curve.tokens == (50, 75, 100)
    assert curve.low[0] >= 1.0


def test_the_same_seed_gives_the_same_curve_and_another_another() -> None:
    magnitudes = np.random.default_rng(1).exponential(1.0, 50)
    assert of(magnitudes) == of(magnitudes)
    assert of(magnitudes, seed=1) != of(magnitudes)


def test_nothing_but_zeros_is_saturated() -> None:
    assert of([0.0, 0.0]).last_half == 0.0
