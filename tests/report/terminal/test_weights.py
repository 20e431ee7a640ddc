"""The table of weights under schemes: what a scheme fits is scored, and what it does not is named."""

import math

from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.report.terminal.screen import Screen
from pytest_maxact.report.terminal.weights import render_weights

REASON = "320 is no multiple of its groups of 128"


def scored(decibel: float, flushed: float = 0.0, refused: str = "") -> WeightDistortion:
    figure = math.nan if refused else flushed
    return WeightDistortion(
        entries=8, sqnr_db=decibel, lowest_db=decibel, rel_rmse=figure, clip_rate=figure, flush_to_zero=figure,
        refused=refused,
    )  # fmt: skip


def lines(*layers: dict[str, WeightDistortion]) -> list[str]:
    errors = {
        f"layers.{i}.x": {f"{i}.{name}": {"W4A16": error} for name, error in weights.items()}
        for i, weights in enumerate(layers)
    }
    return render_weights(errors, ["W4A16"], Screen(width=200)).splitlines()


def test_what_a_scheme_does_not_fit_is_named_and_the_rest_scored() -> None:
    misfit = scored(math.nan, refused=REASON)
    shown = lines({"q": scored(18.6), "down": misfit}, {"q": scored(17.1, flushed=0.25), "down": misfit})
    assert [line.split() for line in shown if line[:1].isdigit()] == [["0", "18.6*"], ["1", "17.1*"]]
    assert shown[-3:] == [
        "*: without weights that the scheme does not fit",
        "W4A16: worst is 1.q, 17.1 dB, 25.0% of its non-zero entries become zero",
        f"W4A16: does not fit 2 of 4 weights, the first 0.down: {REASON}",
    ]


def test_a_layer_of_which_nothing_fits_has_no_figure() -> None:
    shown = lines({"down": scored(math.nan, refused=REASON)}, {"q": scored(17.1)})
    assert [line.split() for line in shown if line[:1].isdigit()] == [["0", "none*"], ["1", "17.1"]]


def test_a_weight_that_is_not_finite_is_the_worst_and_called_so() -> None:
    shown = lines({"q": scored(18.6), "k": scored(math.nan)}, {"q": scored(math.inf)})
    assert [line.split(maxsplit=1) for line in shown if line[:1].isdigit()] == [["0", "not finite"], ["1", "exact"]]
    assert shown[-1] == "W4A16: worst is 0.k, not finite"
