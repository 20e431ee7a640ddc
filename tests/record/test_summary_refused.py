"""A summary refuses what it dropped, by its name, instead of reading it as small."""

import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.record.export import smoothquant, static_scales
from pytest_maxact.record.held import Summary
from pytest_maxact.record.merge import merge
from pytest_maxact.record.metrics.metric import Metric
from pytest_maxact.record.reading import distributions_of
from pytest_maxact.record.summary import summary
from tests.support import fitness, records
from tests.support.failing import failing
from tests.support.metrics import value_of
from tests.support.samples import measured

SLIM = "the Record is slim and does not hold"
AGAIN = "\n  measure again without `slim`"


@pytest.mark.parametrize(
    "metric",
    [
        "quantile.0.9",
        "int4.max_abs.sqnr_db",
        "int8.clip_q0.5.clip_rate",
        "int4.optimal.sqnr_db",
        "FP16.sqnr_db",
        "BF16.flush_to_zero",
    ],
)
def test_a_figure_that_was_not_kept_is_refused_by_its_name(metric: str) -> None:
    full = records.record({"embedding": [[1.0, 2.0]], "layers.0.hidden": [[3.0, 4.0]]})
    value_of(full["layers.0.hidden"], metric)
    with pytest.raises(InputError, match=SLIM) as refused:
        value_of(summary(full)["layers.0.hidden"], metric)
    assert metric.rpartition(".")[0 if "quantile" not in metric else 2] in str(refused.value)
    assert "layers.0.hidden" + AGAIN in str(refused.value)
    with pytest.raises(InputError, match=SLIM):
        check(
            summary(full),
            Limit(
                site="carrier", metric=Metric.parse(metric), bound=1e9, sense="max", rule="", source="", file="", line=0
            ),
        )
    with pytest.raises(InputError, match=SLIM):
        summary(summary(full), [metric])
    kept = summary(full, [metric])
    assert repr(value_of(kept["embedding"], metric)) == repr(value_of(full["embedding"], metric))
    assert summary(kept, [metric]) is kept


@pytest.mark.parametrize(
    "metric",
    ["quantile.1.5", "int8.median.sqnr_db", "int99.max_abs.sqnr_db", "int8.clip_qx.sqnr_db", "W8A8.speed", "depth"],
)
def test_a_name_that_means_nothing_is_called_so_and_not_dropped(metric: str) -> None:
    full = records.record({"embedding": [[1.0, 2.0]]})
    for refused in (
        lambda: value_of(summary(full)["embedding"], metric),
        lambda: value_of(full["embedding"], metric),
        lambda: summary(full, [metric]),
    ):
        with pytest.raises(InputError, match="no metric called"):
            refused()


def test_a_scheme_that_was_not_measured_is_named_as_ever() -> None:
    full = fitness.measured("W8A8")
    for record in (full, summary(full, ["FP8.sqnr_db", "W8A8.mean_kl"])):
        with pytest.raises(MeasureError, match="holds nothing of scheme FP8 there"):
            value_of(record[fitness.SITES[0]], "FP8.sqnr_db")


def test_nothing_that_was_dropped_reads_as_empty() -> None:
    reading = summary(failing())[fitness.SITES[0]]
    assert isinstance(reading.held, Summary)
    assert reading.held.has_channels
    for dropped in (
        lambda: reading.histogram,
        lambda: reading.calibration.max_abs,
        lambda: reading.evaluation.quantile(0.5),
        lambda: reading.calibration.rms,
        lambda: reading.calibration.above(0.1),
        lambda: reading.evaluation.dense(),
        lambda: distributions_of(reading).channels,
        lambda: distributions_of(reading).schemes,
    ):
        with pytest.raises(InputError, match=SLIM):
            dropped()
    assert reading.count == failing()[fitness.SITES[0]].count > 0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["slim first", "slim last"])
def test_slim_records_do_not_merge(order: tuple[int, int]) -> None:
    samples = measured(6)
    parts = [summary(records.record_of(samples[:3])), records.record_of(samples[3:])]
    with pytest.raises(
        InputError, match="a slim Record holds no histograms that add up\n  merge Records that were measured without"
    ):
        merge(parts[place] for place in order)
    with pytest.raises(InputError, match=SLIM):
        parts[order[0]]["embedding"] + parts[order[1]]["embedding"]


def test_slim_records_are_not_exported() -> None:
    slim = summary(failing())
    for exported in (lambda: smoothquant(slim), lambda: static_scales(slim, "FP8")):
        with pytest.raises(
            InputError, match="this Record is slim and does not hold the maxima of channels, which are exported" + AGAIN
        ):
            exported()
