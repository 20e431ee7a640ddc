"""Figures that stand for a distribution are held to each other, as far as rounding leaves them."""

import math
from dataclasses import replace
from typing import Any

import pytest

from pytest_maxact.numbers.scan import TensorScan, WeightScan
from pytest_maxact.record.held import Summary
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.sound.figures import require_sound_figures, require_sound_weight
from pytest_maxact.record.sound.weights import require_sound_weights
from pytest_maxact.record.summary import summary
from tests.support import records
from tests.support.failing import failing
from tests.support.fitness import weight

NAME = "layers.0.hidden"
SLIM = summary(records.record({NAME: [[1.0, -4.0, 2.0, 0.5]], "final_norm": [[1.0, 1.0, 1.0, 1.0]]}))[NAME]
RMS = math.sqrt(21.25 / 4)
MEAN = 7.5 / 4
NEAR = 1 + 2.0**-8


def stating(figures: dict[str, Any], reading: SiteReading = SLIM) -> SiteReading:
    """With these figures instead; those that are None are gone."""
    assert isinstance(reading.held, Summary)
    kept = {name: value for name, value in {**reading.held.figures, **figures}.items() if value is not None}
    return replace(reading, held=replace(reading.held, figures=kept))


def check(reading: SiteReading) -> None:
    assert isinstance(reading.held, Summary)
    require_sound_figures(reading, reading.held)


def refusal(reading: SiteReading) -> str:
    with pytest.raises(ValueError, match=r"^(figures|peaks|int8|W8A8)") as caught:
        check(reading)
    return str(caught.value)


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"mean_abs": RMS * NEAR},
        {"rms": 4.0 * NEAR, "quantile.0.999": 4.0 * NEAR},
        {"quantile.0.5": 4.0, "quantile.0.99": 4.0, "quantile.0.999": 4.0},
        {"quantile.0.25": 0.5, "quantile.1.0": 4.0},
        {"int8.max_abs.clip_rate": 1.0, "int8.max_abs.flush_to_zero": 0.0},
        {"smoothing_gain_db": -3.0},
    ],
)
def test_figures_that_agree_are_sound(figures: dict[str, Any]) -> None:
    check(stating(figures))


@pytest.mark.parametrize("name", list(failing().sites))
def test_figures_of_schemes_that_were_taken_are_sound(name: str) -> None:
    check(summary(failing())[name])


def test_ratios_in_decibels_may_lie_below_zero() -> None:
    reading = next(one for one in summary(failing()).sites.values() if one.held.schemes)
    check(stating({"W8A8.token_low_db": -60.0, "W8A8.calm_sqnr_db": -1.0}, reading))
    for figure, said in (
        ({"W8A8.tokens": 1.5}, "figures.W8A8.tokens: 1.5 is no count"),
        ({"W8A8.tokens": math.nan}, "figures.W8A8.tokens: nan is no count"),
        ({"W8A8.clip_rate": None}, "figures.W8A8.clip_rate: missing"),
    ):
        assert refusal(stating(figure, reading)) == said
    everything = {name: None for name in reading.held.figures if name.startswith("W8A8.")}  # type: ignore[union-attr]
    assert refusal(stating(everything, reading)) == "figures.W8A8.sqnr_db: missing"


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (
            {"rms": RMS / NEAR * 0.5},
            f"figures.rms: {RMS / NEAR * 0.5}, where the mean is {MEAN} and the largest entry 4.0",
        ),
        ({"rms": 4.02}, f"figures.rms: 4.02, where the mean is {MEAN} and the largest entry 4.0"),
        ({"rms": 0.0, "mean_abs": 0.0}, "figures.rms: 0.0, where the mean is 0.0 and the largest entry 4.0"),
        ({"mean_abs": 2.4}, f"figures.rms: {RMS}, where the mean is 2.4 and the largest entry 4.0"),
        ({"mean_abs": -1.0}, "figures.mean_abs: -1.0 is out of range"),
        ({"quantile.0.999": 4.02}, f"figures.quantile.0.999: 4.02, which does not lie between 4.0 and {4.0 * NEAR}"),
        ({"quantile.0.99": 0.25}, f"figures.quantile.0.99: 0.25, which does not lie between 1.0 and {4.0 * NEAR}"),
        ({"quantile.0.25": 2.0}, f"figures.quantile.0.5: 1.0, which does not lie between 2.0 and {4.0 * NEAR}"),
        ({"quantile.0.5": None}, "figures.quantile.0.5: missing"),
        ({"mean_abs": None}, "figures.mean_abs: missing"),
        ({"growth": 1.0}, "figures.growth: no figure that a summary keeps"),
        ({"max_abs": 1.0}, "figures.max_abs: no figure that a summary keeps"),
        ({"soul": 1.0}, "figures.soul: no figure that a summary keeps"),
        ({"int8.max_abs.levels_used": 1.5}, "figures.int8.max_abs.levels_used: 1.5 is no count"),
        ({"int8.max_abs.levels_used": math.inf}, "figures.int8.max_abs.levels_used: inf is no count"),
        ({"int8.max_abs.levels_used": -1.0}, "figures.int8.max_abs.levels_used: -1.0 is out of range"),
        ({"int8.max_abs.flush_to_zero": 1.01}, "figures.int8.max_abs.flush_to_zero: 1.01 is out of range"),
        ({"int8.max_abs.clip_rate": 1.01}, "figures.int8.max_abs.clip_rate: 1.01 is out of range"),
        ({"int8.max_abs.rel_mae": None}, "figures.int8.max_abs.rel_mae: missing"),
        (
            {"int8.max_abs.sqnr_db": 20.0, "int8.max_abs.rel_rmse": 0.1002},
            "int8.max_abs.sqnr_db: 20.0, where a relative error of 0.1002 is another",
        ),
        (
            {"int8.max_abs.sqnr_db": math.inf, "int8.max_abs.rel_rmse": 0.5},
            "int8.max_abs.sqnr_db: no error, where the relative error is 0.5",
        ),
        (
            {"int8.max_abs.sqnr_db": math.inf, "int8.max_abs.rel_rmse": math.nan},
            "int8.max_abs.sqnr_db: no error, where the relative error is nan",
        ),
    ],
)
def test_figures_that_do_not_agree_are_refused(figures: dict[str, Any], said: str) -> None:
    assert refusal(stating(figures)) == said


@pytest.mark.parametrize(
    ("sqnr_db", "rel_rmse"),
    [
        (20.0, 0.1),
        (20.0009, 0.1),
        (math.inf, 0.0),
        (-math.inf, 0.0),
        (-math.inf, math.nan),
        (math.nan, math.nan),
        (math.nan, 0.0),
        (0.0, 1.0),
        (-math.inf, math.inf),
    ],
)
def test_a_ratio_and_the_error_that_it_says_are_one(sqnr_db: float, rel_rmse: float) -> None:
    check(stating({"int8.optimal.sqnr_db": sqnr_db, "int8.optimal.rel_rmse": rel_rmse}))


@pytest.mark.parametrize(
    ("sqnr_db", "rel_rmse"),
    [
        (40.0, math.nan),
        (40.0, 0.0),
        (-40.0, math.inf),
        (0.0, math.nan),
        (-math.inf, 2.0),
        (math.nan, 0.5),
        (math.nan, math.inf),
    ],
)
def test_a_ratio_beside_an_error_that_cannot_be_its_own_is_refused(sqnr_db: float, rel_rmse: float) -> None:
    said = f"sqnr_db: {sqnr_db}, where a relative error of {rel_rmse} is another"
    assert refusal(stating({"int8.optimal.sqnr_db": sqnr_db, "int8.optimal.rel_rmse": rel_rmse})) == (
        f"int8.optimal.{said}"
    )
    with pytest.raises(ValueError, match=r"^weights\.W8A8\.sqnr_db") as caught:
        require_sound_weight("W8A8", replace(SOUND, sqnr_db=sqnr_db, lowest_db=-math.inf, rel_rmse=rel_rmse))
    assert str(caught.value) == f"weights.W8A8.{said}"


@pytest.mark.parametrize("entries", [[0.0, 0.0], [2.0**-100, -(2.0**-100)], [2.0**127, 1.0], [math.nan, math.inf]])
def test_figures_of_whatever_entries_are_sound(entries: list[float]) -> None:
    check(summary(records.record({NAME: [entries], "final_norm": [[1.0]]}))[NAME])


@pytest.mark.parametrize("peaks", [0, 2, 3])
def test_a_summary_keeps_the_largest_entry_alone(peaks: int) -> None:
    wrong = replace(SLIM, peaks=SLIM.peaks * peaks)
    assert refusal(wrong) == f"peaks: {peaks}, where a summary keeps the largest entry"


def test_of_nothing_finite_no_entry_is_kept() -> None:
    broken = summary(records.record({NAME: [[math.nan]], "final_norm": [[1.0]]}))[NAME]
    assert broken.peaks == ()
    check(broken)


# Weights

SOUND = replace(weight(20.0), flush_to_zero=0.25, most_flushed=0.25)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"most_flushed": None},
        {"most_flushed": 1.0, "flush_to_zero": 1.0},
        {"most_flushed": 0.25 * (1 - 1e-10)},
        {"lowest_db": 20.0009},
        {"lowest_db": 3.0},
        {"refused": "its width", "entries": 0, "sqnr_db": 99.0},
    ],
)
def test_a_weight_whose_figures_agree_is_sound(changes: dict[str, Any]) -> None:
    require_sound_weight("W8A8", replace(SOUND, **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"entries": 0}, "entries: none"),
        ({"lowest_db": 20.002}, "lowest_db: 20.002 of the worst, 20.0 of all"),
        ({"most_flushed": 0.2499}, "most_flushed: 0.2499 at most, 0.25 of all"),
        ({"most_flushed": 0.0}, "most_flushed: 0.0 at most, 0.25 of all"),
        ({"sqnr_db": 21.0}, "sqnr_db: 21.0, where a relative error of 0.1 is another"),
    ],
)
def test_a_weight_whose_figures_do_not_agree_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"^weights") as caught:
        require_sound_weight("W8A8", replace(SOUND, **changes))
    assert str(caught.value) == f"weights.W8A8.{said}"


TENSOR = TensorScan(file="m", dtype="BF16", shape=(2, 3), elements=6, nonfinite=6, largest=1.0)
SCAN = WeightScan(files=("m",), tensors=1, elements=6, largest="w", named={"w": TENSOR})


@pytest.mark.parametrize(
    "scan",
    [
        None,
        SCAN,
        WeightScan(files=("m",), tensors=1, elements=1),
        replace(SCAN, elements=12, named={"w": replace(TENSOR, file="m, n", elements=12)}),
    ],
)
def test_a_scan_that_agrees_is_sound(scan: WeightScan | None) -> None:
    require_sound_weights(scan)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tensors": 0}, "weights: 6 entries of 0 tensors, so nothing was looked at"),
        ({"elements": 0}, "weights: 0 entries of 1 tensor, so nothing was looked at"),
        ({"named": {"w": TENSOR, "v": TENSOR}}, "weights.named: 2 tensors, of 1 in all"),
        ({"largest": "x"}, "weights.largest: x is none of weights.named"),
        ({"largest": ""}, "weights.largest:  is none of weights.named"),
        ({"elements": 5}, "weights.named: w has 6 entries, of shape (2, 3)"),
        ({"named": {"w": replace(TENSOR, shape=(5,))}}, "weights.named: w has 6 entries, of shape (5,)"),
        ({"named": {"w": replace(TENSOR, nonfinite=7)}}, "weights.named: w has 7 of 6 non-finite"),
    ],
)
def test_a_scan_that_does_not_agree_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"^weights") as caught:
        require_sound_weights(replace(SCAN, **changes))
    assert str(caught.value) == said
