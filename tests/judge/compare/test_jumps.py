"""Massive layers and jumps that came, went or moved."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.errors import MeasureError
from pytest_maxact.judge.compare.changes import record_change
from pytest_maxact.judge.compare.jumps import first_jump, jump_shift, new_massive_layers
from pytest_maxact.record.metrics.metric import JUMP, MASSIVE
from tests.support.changes import BROKEN, patient, residual
from tests.support.records import bf16

# Massive layers


@pytest.mark.parametrize(
    ("had", "has", "floor", "new"),
    [
        (0, 1, 0.0, True),
        (0, 0, 0.0, False),
        (1, 1, 0.0, False),
        (1, 900, 0.0, False),
        (0, 3, 4.0, False),
        (0, 4, 4.0, True),
        (1, 4, 4.0, True),
        (2, 4, 4.0, False),
        (3, 4, 4.0, False),
        (3, 6, 4.0, False),
        (2, 5, 4.0, True),
        (3, 7, 4.0, True),
        (3, 5000, 4.0, True),
        (4, 5000, 4.0, False),
    ],
)
def test_a_layer_is_massive_anew_from_the_floor_on_and_not_for_a_token_more(
    had: int, has: int, floor: float, new: bool
) -> None:
    before, after = residual(1.0, 1.0, 1.0, massive=(had, 0)), residual(1.0, 1.0, 1.0, massive=(has, 0))
    assert new_massive_layers(before, after, floor) == ([0] if new else [])
    assert record_change(before, after, MASSIVE, floor) == float(new)


def test_every_new_layer_counts_and_none_that_is_gone() -> None:
    before, after = residual(*[1.0] * 5, massive=(9, 0, 0, 9)), residual(*[1.0] * 5, massive=(0, 9, 9, 9))
    assert new_massive_layers(before, after, 4.0) == [1, 2]
    assert new_massive_layers(after, before, 4.0) == [0]


def test_layers_that_were_not_tested_have_no_count() -> None:
    tested = residual(1.0, 1.0, massive=(0,))
    untested = replace(tested, sites={name: replace(reading, massive=None) for name, reading in tested.sites.items()})
    for pair in ((tested, untested), (untested, tested)):
        with pytest.raises(
            MeasureError, match=r"^a Record was not tested for massive activations at every layer\n  measure it again$"
        ):
            record_change(*pair, MASSIVE, None)


# Jumps


@pytest.mark.parametrize(
    ("maxima", "floor", "layer"),
    [
        ((1.0, 10.0), 0.0, 0),
        ((1.0, 9.875), 0.0, None),
        ((1.0, 2.0, 4.0), 0.0, None),
        ((1.0, 2.0, 32.0, 512.0), 0.0, 1),
        ((0.125, 2.0, 32.0), 10.0, 1),
        ((0.125, 2.0, 4.0), 10.0, None),
        ((0.0, 5.0, 50.0), 0.0, 1),
    ],
)
def test_the_first_jump_is_the_first_tenfold_layer_above_the_floor(
    maxima: Sequence[float], floor: float, layer: int | None
) -> None:
    assert first_jump(residual(*maxima), floor) == layer


def test_without_a_floor_a_jump_of_small_magnitudes_is_one() -> None:
    assert first_jump(residual(0.03125, 0.5)) == 0


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        ((1.0, 20.0, 20.0, 20.0), (1.0, 1.0, 1.0, 20.0), 2.0),
        ((1.0, 1.0), (1.0, 20.0), math.inf),
        ((1.0, 20.0), (1.0, 1.0), math.inf),
        ((1.0, 1.0), (1.0, 2.0), 0.0),
        ((1.0, 9.875, 9.875), (1.0, 10.0, 10.0), 0.0),
        ((1.0, 7.75), (1.0, 12.75), math.inf),
        ((1.0, 9.0, 270.0), (1.0, 12.0, 360.0), 0.0),
        ((1.0, 7.0, 210.0), (1.0, 14.0, 420.0), 1.0),
        ((1.0, 15.0), (1.0, 9.0), 0.0),
        ((1.0, 10.0, 320.0), (1.0, 9.0, 9.0), 0.0),
        # a layer that only just jumps does not count, though it is the first
        ((1.0, 1.0, 11.0, 11.0, 352.0, 352.0, 352.0), (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 32.0), 2.0),
        ((1.0, 1.0, 1.0, *[11.0] * 5, 352.0, 352.0, 352.0), (1.0, 1.0, 1.0, 1.0, *[11.0] * 6, 352.0), 1.0),
    ],
)
def test_a_jump_moves_by_layers_and_comes_or_goes_without_measure(
    before: Sequence[float], after: Sequence[float], moved: float
) -> None:
    assert jump_shift(residual(*before), residual(*after)) == moved
    assert jump_shift(residual(*after), residual(*before)) == moved


@patient
@given(st.lists(st.floats(1.0, 30.0), min_size=1, max_size=6), st.lists(st.floats(0.9, 1.1), min_size=6, max_size=6))
def test_changes_within_tolerance_move_no_jump(factors: list[float], noise: list[float]) -> None:
    """Factors that stay within 1.2 of what they were leave the first jump where it may have been, wherever ten lies
    between.
    """
    maxima = np.cumprod([1.0, *factors])
    other = np.cumprod([1.0, *(factor * wobble for factor, wobble in zip(factors, noise, strict=False))])
    assert jump_shift(residual(*bf16(maxima)), residual(*bf16(other))) == 0.0


@patient
@given(
    st.lists(st.floats(0.5, 1000.0), min_size=2, max_size=6), st.lists(st.floats(0.5, 1000.0), min_size=2, max_size=6)
)
def test_jump_shift_is_symmetric_and_at_most_what_the_first_jumps_say(one: list[float], other: list[float]) -> None:
    before, after = residual(*bf16(one)), residual(*bf16(other))
    moved = jump_shift(before, after)
    assert moved == jump_shift(after, before)
    plain = (first_jump(before), first_jump(after))
    if plain[0] == plain[1]:
        assert moved == 0.0
    elif None not in plain:
        assert moved <= abs(plain[0] - plain[1])  # type: ignore[operator]


@pytest.mark.parametrize("metric", [MASSIVE, JUMP])
@pytest.mark.parametrize("bad", BROKEN)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_broken_residual_stream_has_no_change_on_either_side(metric: str, bad: float, place: int) -> None:
    maxima = [1.0, 2.0, 3.0]
    maxima[place] = bad
    for pair in ((residual(*maxima), residual(1.0, 2.0, 3.0)), (residual(1.0, 2.0, 3.0), residual(*maxima))):
        assert math.isnan(record_change(*pair, metric, None))
