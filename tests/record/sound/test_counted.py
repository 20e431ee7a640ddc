"""What is said of a site is held to its own histograms, up to the last entry that fits."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import NonFinite, Peak
from pytest_maxact.numbers.sums import DB_BINS, SchemeSums
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.sound.site import Text
from tests.support import records
from tests.support.sound import EVALUATION, Change, holding, holds, reading, refusal

# The largest entries


def peak(value: float) -> Peak:
    return Peak(value=value, sample="s1", position=0, token="t", token_id=1, channel=0)


def peaked(values: list[float], peaks: list[float], dtype: str = "bfloat16") -> SiteReading:
    """A residual stream of one row of evaluation, with these as its largest entries."""
    encoding = "float16" if dtype == "float16" else "bfloat16"
    seen = Histogram.from_values(encoding, np.asarray(values))
    one = records.holding(reading("gate"), calibration=Histogram.empty(encoding), evaluation=seen)
    return replace(one, dtype=dtype, width=len(values), peaks=tuple(peak(value) for value in peaks))


ROW = Text(samples={"s1": 1}, calibration=0, evaluation=1)
TWELVE = [12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("values", "peaks", "dtype"),
    [
        ([3.0, 2.0, 1.0], [-3.0, 2.0, 1.0], "bfloat16"),
        (TWELVE, TWELVE[:10], "bfloat16"),
        ([5.0] * 12, [5.0] * 10, "bfloat16"),
        ([1000.0, 1.0], [1000.123, 1.0], "float32"),
        ([1.0, 1.0], [1.00390625, 1.0], "float32"),
        ([1.015625, 1.0078125], [1.01171875, 1.0078125], "float32"),
        ([2.0, 1.0], [1.998, 1.0], "float32"),
        ([math.inf, 1.0], [3.4e38, 1.0], "float32"),
        ([3.3895313892515355e38], [3.389e38], "float32"),
        ([1.0009765625, 1.0], [1.0009765625, 1.0], "float16"),
        ([2.0**-24], [2.0**-24], "float16"),
        ([65504.0], [65504.0], "float16"),
    ],
)
def test_the_largest_entries_are_those_that_were_counted(values: list[float], peaks: list[float], dtype: str) -> None:
    assert holds(peaked(values, peaks, dtype), ROW)


@pytest.mark.parametrize(
    ("values", "peaks", "place", "there"),
    [
        ([3.0, 2.0, 1.0], [3.0, 2.0], 2, "1.0"),
        ([3.0, 2.0, 1.0], [3.0, 2.0, 1.0, 0.5], 3, "no entry"),
        ([3.0, 2.0, 1.0], [3.0, 1.0, 2.0], 1, "2.0"),
        ([3.0, 2.0, 1.0], [], 0, "3.0"),
        (TWELVE, [*TWELVE[:9], 2.0], 9, "3.0"),
        (TWELVE, TWELVE[:9], 9, "3.0"),
        ([2.0, 2.0, 1.0], [2.0, 1.0], 1, "2.0"),
        ([1.0, math.nan], [2.0], 0, "1.0"),
    ],
)
def test_other_peaks_are_refused_by_the_first_that_differs(
    values: list[float], peaks: list[float], place: int, there: str
) -> None:
    broken = replace(
        peaked(values, peaks),
        first_nonfinite=NonFinite(sample="s1", position=0, token="", channel=0) if math.nan in values else None,
    )
    broken = replace(broken, width=max(len(values), 4)) if math.nan in values else broken
    broken = (
        records.holding(broken, evaluation=records.histogram([*values, 0.0, 0.0])) if math.nan in values else broken
    )
    assert refusal(broken, ROW) == f"peaks.{place}: not the histogram's, which has {there} there"


def test_peaks_are_of_both_splits() -> None:
    one = reading()
    assert [abs(one.value) for one in one.peaks[:3]] == [8.0, 4.0, 2.0]
    only = replace(one, peaks=tuple(peak for peak in one.peaks if peak.sample == "s1"))
    assert refusal(only) == "peaks.1: not the histogram's, which has 4.0 there"


def loud(*values: float) -> SiteReading:
    """A residual stream with these among its entries, one in each split."""
    first, *rest = [*values, 1.0, 1.0]
    return reading("hidden", [[first, 1.0, 1.0, 1.0]], [[*rest, 1.0, 1.0, 1.0][:4], [1.0, 1.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    ("values", "massive"),
    [
        ((1.0,), Massive()),
        ((128.0, 128.0), Massive(tokens=2, entries=2, max_ratio=2000.0)),
        ((128.0, 128.0), Massive(tokens=1, entries=2, max_ratio=2000.0)),
        ((128.0,), Massive(tokens=0, entries=0, max_ratio=128.0)),
        ((100.0,), Massive()),
        ((100.0,), Massive(tokens=1, entries=1, max_ratio=1001.0)),
    ],
)
def test_massive_activations_are_among_what_was_counted(values: tuple[float, ...], massive: Massive) -> None:
    assert holds(replace(loud(*values), massive=massive))


ABOVE_100 = "massive: {} of {}, where {} are above 100"


@pytest.mark.parametrize(
    ("values", "massive", "said"),
    [
        ((128.0, 128.0), Massive(tokens=3, entries=3, max_ratio=2000.0), ABOVE_100.format("3 entries", "3 tokens", 2)),
        ((128.0, 128.0), Massive(tokens=2, entries=1, max_ratio=2000.0), ABOVE_100.format("1 entry", "2 tokens", 2)),
        ((128.0, 128.0), Massive(tokens=0, entries=1, max_ratio=2000.0), ABOVE_100.format("1 entry", "0 tokens", 2)),
        ((99.0, 98.5), Massive(tokens=1, entries=1, max_ratio=2000.0), ABOVE_100.format("1 entry", "1 token", 0)),
        ((128.0, 128.0), Massive(), "massive.max_ratio: None, where 2 entries are above 100"),
        ((101.5,), Massive(), "massive.max_ratio: None, where 1 entry is above 100"),
        ((99.0,), Massive(max_ratio=99.0), "massive.max_ratio: 99.0, where 0 entries are above 100"),
    ],
)
def test_massive_activations_that_were_not_counted_are_refused(
    values: tuple[float, ...], massive: Massive, said: str
) -> None:
    assert refusal(replace(loud(*values), massive=massive)) == said


@pytest.mark.parametrize(("kind", "massive"), [("hidden", None), ("mlp_output", Massive())])
def test_massive_activations_are_looked_for_in_the_residual_stream_alone(kind: str, massive: Massive | None) -> None:
    one = replace(reading(kind), massive=massive)
    assert refusal(one) == "massive: tested of the residual stream, and of it alone"


def channels(**parts: list[float]) -> Change:
    return holding(channels=Channels({part: np.array(amax, np.float32) for part, amax in parts.items()}))


@pytest.mark.parametrize(
    "change",
    [
        channels(a=[1.0, 4.0, 2.0, 0.0]),
        channels(a=[1.0, 1.0, 2.0, 0.0], b=[4.0]),
        channels(a=[1.0, 4.0, 2.0, 0.0], b=[]),
    ],
)
def test_channels_reach_the_largest_entry_of_the_calibration_split(change: Change) -> None:
    assert holds(change(reading("qkv_in")))


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        (
            "gate",
            channels(a=[1.0, 4.0, 2.0, 0.0]),
            "observed at inputs of linear layers and of keys and values alone",
        ),
        ("qkv_in", channels(a=[1.0, 4.0, 2.0]), "not as many as the width, 4"),
        ("qkv_in", channels(a=[1.0, 4.0, 2.0, 0.0, 0.0]), "not as many as the width, 4"),
        ("qkv_in", channels(), "not as many as the width, 4"),
        ("qkv_in", channels(a=[1.0, 4.0, 2.0, -1.0]), "a magnitude below zero"),
        (
            "qkv_in",
            channels(a=[1.0, 8.0, 2.0, 0.0]),
            "at most 8.0, where the calibration split and text as deployed have 4.0",
        ),
        (
            "qkv_in",
            channels(a=[1.0, 2.0, 2.0, 0.0]),
            "at most 2.0, where the calibration split and text as deployed have 4.0",
        ),
    ],
)
def test_channels_that_the_calibration_split_does_not_bear_out_are_refused(
    kind: str, change: Change, said: str
) -> None:
    assert refusal(change(reading(kind))) == f"channels: {said}"


def test_channels_of_a_calibration_split_that_is_not_finite_are_not_held_to_it() -> None:
    broken = reading("qkv_in", [[1.0, math.inf, 2.0, 0.0]])
    assert holds(channels(a=[1.0, math.inf, 2.0, 0.0])(broken))
    assert "at most" in refusal(channels(a=[1.0, 8.0, 2.0, 0.0])(reading("qkv_in", evaluation=[[math.nan] * 4] * 2)))


@pytest.mark.parametrize(("deployed", "said"), [(8.0, ""), (8.015625, ""), (2.0, "at most 8.0, where"), (math.inf, "")])
def test_channels_reach_the_largest_entry_of_text_as_it_is_deployed_too(deployed: float, said: str) -> None:
    one = replace(channels(a=[1.0, 8.0, 2.0, 0.0])(reading("qkv_in")), as_deployed=deployed)
    assert said in refusal(one) if said else holds(one)


# What schemes do


SUMS = SchemeSums(
    tokens=2,
    entries=8,
    nonzero=7,
    clipped=8,
    flushed=7,
    signal=72.0,
    error=1.0,
    signal_abs=14.0,
    error_abs=1.0,
    calm_tokens=2,
    calm_signal=72.0,
    calm_error=1.0,
    token_db=((0, 1), (DB_BINS - 1, 1)),
    levels=(0, 1, 5),
)


def under(scheme: str = "W8A8", broken: bool = False, **changes: Any) -> SiteReading:
    evaluation = [[math.nan, 8.0, 0.5, 0.0], [1.0, 1.0, 1.0, -1.0]] if broken else EVALUATION
    return holding(schemes={scheme: replace(SUMS, **changes)})(reading("qkv_in", evaluation=evaluation))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"signal": 72.25 * 1.02, "calm_signal": 72.25},
        {"signal_abs": 14.5 * 1.0099},
        {"calm_signal": 72.0 * 1.0099, "calm_error": 1.0099},
        {"signal": 0.0, "error": 0.0, "signal_abs": 0.0, "error_abs": 0.0, "calm_signal": 0.0, "calm_error": 0.0},
        {"levels": (), "tokens": 0, "token_db": (), "calm_tokens": 0},
    ],
)
def test_sums_of_part_of_the_evaluation_split_are_sound(changes: dict[str, Any]) -> None:
    assert holds(under(**changes))


def test_of_what_is_not_finite_energies_are_not_held_to_the_histogram() -> None:
    assert holds(under(broken=True, signal=1e9, signal_abs=1e9, calm_signal=1e12, calm_error=1e12, flushed=8))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"entries": 9}, ".entries: 9 of 8"),
        ({"tokens": 9}, ".tokens: 9 of 8"),
        ({"nonzero": 9}, ".nonzero: 9 of 8"),
        ({"clipped": 9}, ".clipped: 9 of 8"),
        ({"flushed": 8}, ".flushed: 8 of 7"),
        ({"calm_tokens": 3}, ".calm_tokens: 3 of 2"),
        ({"tokens": 3}, ".token_db: not of 3 tokens"),
        ({"token_db": ((0, 1), (DB_BINS, 1))}, ".token_db: not of 2 tokens"),
        ({"token_db": ((5, 1), (0, 1))}, ": token_db or levels out of order"),
        ({"token_db": ((5, 1), (5, 1))}, ": token_db or levels out of order"),
        ({"levels": (1, 0)}, ": token_db or levels out of order"),
        ({"levels": (1, 1)}, ": token_db or levels out of order"),
        *(
            ({name: -0.5}, ": an energy below zero")
            for name in ("signal", "error", "signal_abs", "error_abs", "calm_signal", "calm_error")
        ),
        ({"signal": 72.25 * 1.021}, f".signal: {72.25 * 1.021}, more than the histogram's {72.25 * 1.01**2}"),
        ({"signal_abs": 14.5 * 1.011}, f".signal: 72.0, more than the histogram's {72.25 * 1.01**2}"),
        ({"signal": math.nan}, f".signal: nan, more than the histogram's {72.25 * 1.01**2}"),
        ({"calm_signal": 72.0 * 1.011}, ".calm_signal: more than that of all tokens"),
        ({"calm_error": 1.011}, ".calm_signal: more than that of all tokens"),
    ],
)
def test_sums_that_the_evaluation_split_does_not_bear_out_are_refused(changes: dict[str, Any], said: str) -> None:
    assert refusal(under(**changes)) == f"schemes.W8A8{said}"


def test_a_scheme_that_leaves_activations_as_they_are_has_no_sums() -> None:
    assert refusal(under("W4A16")) == "schemes.W4A16: a scheme that leaves activations as they are"


@pytest.mark.parametrize(("flushed", "said"), [(8, ""), (9, "schemes.W8A8.flushed: 9 of 8")])
def test_of_what_is_not_finite_entries_bound_what_becomes_zero(flushed: int, said: str) -> None:
    one = under(broken=True, flushed=flushed)
    assert (refusal(one) == said) if said else holds(one)
