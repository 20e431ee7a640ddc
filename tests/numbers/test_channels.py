"""Maxima of channels: parts join to what the whole would have given, and smoothing gains what the maxima say."""

import math

import numpy as np
import pytest

from pytest_maxact.numbers.channels import Channels, smoothing_gain_db


def channels(**parts: list[float]) -> Channels:
    return Channels({part: np.array(amax, np.float32) for part, amax in parts.items()})


def test_channels_of_equal_parts_are_equal_and_of_others_are_not() -> None:
    one = channels(a=[1.0, 2.0], b=[3.0])
    assert one == channels(b=[3.0], a=[1.0, 2.0])
    for other in (channels(a=[1.0, 2.0]), channels(a=[1.0, 2.0], b=[4.0]), channels(a=[1.0, 2.0], c=[3.0]), {}, None):
        assert one != other
        assert other != one


def test_joined_channels_have_the_larger_maxima_and_every_part_in_any_order() -> None:
    one, other = channels(a=[1.0, 8.0], b=[3.0]), channels(a=[4.0, 2.0], c=[5.0])
    assert one | other == other | one == channels(a=[4.0, 8.0], b=[3.0], c=[5.0])
    assert one | channels() == channels() | one == one
    assert list((one | other).parts) == ["a", "c", "b"]


@pytest.mark.parametrize(
    ("amax", "gain"),
    [
        ([2.0, 2.0, 2.0], 0.0),
        ([1.0, 1.0, 100.0], 20.0),
        ([0.0, 0.0, 0.0, 1.0, 1.0, 10.0], 10.0),
        ([1.0, 1.0, 10.0, math.inf, math.nan], 10.0),
        ([0.5, 0.5, 5.0], 10.0),
        ([0.0, 0.0], 0.0),
        ([math.nan], 0.0),
        ([], 0.0),
    ],
)
def test_smoothing_gains_the_loudest_over_the_median_of_the_channels_that_say_something(
    amax: list[float], gain: float
) -> None:
    assert smoothing_gain_db(np.array(amax, np.float32)) == pytest.approx(gain)
