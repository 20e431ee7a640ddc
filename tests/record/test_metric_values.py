"""Metrics are read from a Record by their names."""

import math
import re

import numpy as np
import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.numbers.formats import integer_distortion
from pytest_maxact.record.metrics.metric import Kind, Of
from tests.support import records
from tests.support.metrics import value_of


def test_metrics_are_the_figures_of_the_whole_site() -> None:
    reading = records.reading([1.0, -4.0], [2.0, 8.0, 0.3125])
    whole = np.array([1.0, -4.0, 2.0, 8.0, 0.3125])
    assert value_of(reading, "max_abs") == 8.0
    assert value_of(reading, "nonfinite") == 0.0
    assert value_of(reading, "rms") == pytest.approx(math.sqrt(np.mean(whole**2)))
    assert value_of(reading, "quantile.0.6") == 2.0
    assert value_of(reading, "quantile.1.0") == 8.0


@pytest.mark.parametrize(("name", "bits"), [("int8", 8), ("int4", 4), ("int16", 16)])
@pytest.mark.parametrize("policy", ["max_abs", "clip_q0.9975", "optimal"])
def test_any_width_and_clip_can_be_asked_of_a_record_afterwards(name: str, bits: int, policy: str) -> None:
    reading = records.reading(np.linspace(-9, 9, 40), np.linspace(-11, 5, 30))
    expected = integer_distortion(reading.calibration, reading.evaluation, policy, bits)
    assert value_of(reading, f"{name}.{policy}.sqnr_db") == expected.sqnr_db
    assert value_of(reading, f"{name}.{policy}.clip_rate") == expected.clip_rate


@pytest.mark.parametrize("policy", ["max_abs", "clip_q0.5"])
@pytest.mark.parametrize(
    "quantity", ["threshold", "sqnr_db", "rel_rmse", "rel_mae", "clip_rate", "flush_to_zero", "levels_used"]
)
def test_int8_metrics_calibrate_on_one_split_and_measure_on_the_other(policy: str, quantity: str) -> None:
    reading = records.reading([1.0, -4.0], [2.0, 8.0, 0.3125])
    expected = getattr(integer_distortion(reading.calibration, reading.evaluation, policy), quantity)
    assert value_of(reading, f"int8.{policy}.{quantity}") == expected
    swapped = getattr(integer_distortion(reading.evaluation, reading.calibration, policy), quantity)
    assert expected != swapped or quantity in ("flush_to_zero", "clip_rate", "levels_used")


@pytest.mark.parametrize(
    "metric",
    [
        *(
            "",
            "p99",
            "max",
            "MAX_ABS",
            "quantile.",
            "quantile.high",
            "quantile.0",
            "quantile.1.5",
            "int1.max_abs.sqnr_db",
        ),
        *("int.max_abs.sqnr_db", "int99.max_abs.sqnr_db", "int8x.max_abs.sqnr_db"),
        *("int8", "int8.sqnr_db", "int8.max_abs", "int8.max_abs.policy", "int8.max_abs.snr"),
        *("int8.minmax.sqnr_db", "int8.clip_qx.sqnr_db", "int8.clip_q2.sqnr_db"),
    ],
)
@pytest.mark.parametrize("value", [1.0, math.nan])
def test_an_unknown_metric_is_refused_with_the_known_ones(metric: str, value: float) -> None:
    with pytest.raises(InputError) as refused:
        value_of(records.reading([value], [value]), metric)
    for kind in (kind for kind in Kind if kind.of is Of.SITE):
        assert re.search(rf"there are .*(?<!\w){re.escape(kind.form)}(?!\w)", str(refused.value)), kind


ELSEWHERE = (Kind.UNREACHED, Kind.CHANGED, Kind.CHANNEL_RATIO)
"""Metrics of a router, and of what a layer does."""


def test_every_plain_metric_of_a_site_has_a_value_and_none_that_a_limit_passes_where_an_entry_is_not_finite() -> None:
    sound, broken = records.reading([1.0], [2.0]), records.reading([1.0], [2.0, math.nan])
    for kind in (kind for kind in Kind if kind.of is Of.SITE and kind.is_plain and kind not in ELSEWHERE):
        assert math.isfinite(value_of(sound, kind.form)), kind
        value = value_of(broken, kind.form)
        assert value == 1.0 if kind is Kind.NONFINITE else not math.isfinite(value), kind
