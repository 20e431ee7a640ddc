"""The value of a metric at a site: what the Record holds of it, and nothing that could pass where it holds none."""

import math
from dataclasses import replace

import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.numbers.probe import Probe
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.record.metrics.value import beyond_fp16
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.summary import summary
from tests.support import records
from tests.support.fitness import weight
from tests.support.metrics import value_of

NAME = "layers.0.qkv_in"


def reading(*evaluation: float) -> SiteReading:
    return records.reading([1.0, -4.0], evaluation or [2.0, 8.0], NAME)


def weighing(**weights: WeightDistortion) -> SiteReading:
    return replace(reading(), weights={path: {"W8A8": one, "FP8": weight(99.0)} for path, one in weights.items()})


def flushing(share: float, most: float | None = None) -> WeightDistortion:
    return replace(weight(30.0), flush_to_zero=share, most_flushed=most)


def refusal(of: SiteReading, metric: str) -> str:
    with pytest.raises(MeasureError) as caught:
        value_of(of, metric)
    return str(caught.value)


@pytest.mark.parametrize(("given", "share"), [((3, 0, 2, 0), 0.5), ((1, 2), 0.0), ((0, 0), 1.0), (None, math.nan)])
def test_unreached_experts_are_a_share_of_all(given: tuple[int, ...] | None, share: float) -> None:
    found = value_of(replace(reading(), tokens_per_expert=given), "unreached_experts")
    assert found == pytest.approx(share, nan_ok=True)


def test_what_a_layer_changes_is_the_least_of_its_blocks() -> None:
    probe = Probe(sample="s0", tokens=2, changed={"layer": 0.75, "attn_output": 0.25, "mlp_output": 0.5})
    assert value_of(replace(reading(), probe=probe), "changed") == 0.25
    for none in (None, replace(probe, changed={})):
        assert refusal(replace(reading(), probe=none), "changed") == (
            f"{NAME}: the Record holds nothing of what a layer changes there\n"
            "  measure the checkpoint again, or name the residual stream after a layer"
        )


@pytest.mark.parametrize(
    ("evaluation", "fp16", "bf16"),
    [
        ((2.0, 8.0), 65504 / 8, 3.3895313892515355e38 / 8),
        ((131072.0,), 65504 / 131072, 3.3895313892515355e38 / 131072),
        ((math.inf, 1.0), 0.0, 0.0),
        ((math.nan,), 0.0, 0.0),
    ],
)
def test_headroom_is_what_a_format_holds_over_the_maximum(
    evaluation: tuple[float, ...], fp16: float, bf16: float
) -> None:
    assert value_of(reading(*evaluation), "FP16.headroom") == fp16
    assert value_of(reading(*evaluation), "BF16.headroom") == bf16


@pytest.mark.parametrize(("deployed", "found"), [(4.0, 8.0), (16.0, 16.0), (math.inf, math.inf)])
def test_headroom_is_of_text_as_it_is_deployed_too(deployed: float, found: float) -> None:
    assert value_of(replace(reading(), as_deployed=deployed), "FP16.headroom") == 65504 / found
    assert value_of(replace(reading(), as_deployed=deployed), "max_abs") == 8.0


def test_an_error_where_text_as_it_is_deployed_breaks_is_no_number() -> None:
    assert math.isnan(value_of(replace(reading(), as_deployed=math.inf), "FP16.sqnr_db"))
    assert value_of(replace(reading(), as_deployed=1e30), "FP16.sqnr_db") == math.inf


@pytest.mark.parametrize(("deployed", "beyond"), [(None, False), (65504.0, False), (65505.0, True), (math.inf, True)])
def test_what_float16_cannot_hold_is_of_text_as_it_is_deployed_too(deployed: float | None, beyond: bool) -> None:
    record = records.record({"layers.0.hidden": [[1.0]], "final_norm": [[2.0]]})
    sites = {**record.sites, "final_norm": replace(record["final_norm"], as_deployed=deployed)}
    found = beyond_fp16(replace(record, sites=sites))
    assert [one.site.name for one in found] == (["final_norm"] if beyond else [])


def test_zeros_have_room_without_end() -> None:
    assert value_of(records.reading([0.0], [0.0]), "FP16.headroom") == math.inf


def test_an_error_at_a_site_that_is_not_finite_is_no_number() -> None:
    assert value_of(reading(2.0, 8.0), "FP16.sqnr_db") == math.inf
    for quantity in ("sqnr_db", "rel_rmse", "clip_rate", "flush_to_zero"):
        assert math.isnan(value_of(reading(2.0, math.nan), f"FP16.{quantity}"))


def test_of_weights_the_worst_counts() -> None:
    of = weighing(q=weight(30.0), k=replace(weight(40.0), lowest_db=20.0))
    assert value_of(of, "W8A8.weight_sqnr_db") == 20.0
    assert math.isnan(value_of(weighing(q=weight(30.0), k=weight(math.nan)), "W8A8.weight_sqnr_db"))
    assert value_of(weighing(q=flushing(0.25), k=flushing(0.0, most=0.5)), "W8A8.weight_flush_to_zero") == 0.5
    assert math.isnan(value_of(weighing(q=flushing(math.nan), k=flushing(0.5)), "W8A8.weight_flush_to_zero"))


def test_a_weight_of_which_nothing_is_told_is_no_verdict() -> None:
    again = "\n  measure again with `schemes` W8A8"
    assert refusal(reading(), "W8A8.weight_sqnr_db") == (
        f"{NAME}: the Record holds nothing of its weights under W8A8{again}"
    )
    untold = replace(weight(30.0), lowest_db=20.0)
    for of in (weighing(q=untold), weighing(q=flushing(0.25), k=untold)):
        assert refusal(of, "W8A8.weight_flush_to_zero") == (
            f"{NAME}: the Record holds no weight_flush_to_zero of its weights under W8A8{again}"
        )
    assert "nothing of its weights under W4A16" in refusal(weighing(q=weight(30.0)), "W4A16.weight_sqnr_db")


@pytest.mark.parametrize(
    ("metric", "why"),
    [("W8A8.mean_kl", ": W8A8 has no 'mean_kl'"), ("growth", ""), ("margin", ""), ("int8.max_abs.sqnr_db.drop", "")],
)
def test_a_metric_of_no_site_is_refused_there(metric: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        value_of(reading(), metric)
    assert str(caught.value).splitlines()[0] == f"no metric called '{metric}'{why}"


def test_a_summary_gives_the_figures_it_kept_however_they_are_written_and_refuses_the_others() -> None:
    full = records.record({"layers.0.hidden": [[1.0, -4.0, 0.5, 2.0]], "final_norm": [[1.0, 2.0, 1.0, 1.0]]})
    slim = summary(full, ["quantile.0.25", "int4.clip_q0.9.sqnr_db"])["layers.0.hidden"]
    whole = full["layers.0.hidden"]
    for metric in ("quantile.0.25", "quantile..250", "quantile.0.999", "int4.clip_q.90.rel_mae", "rms", "max_abs"):
        assert value_of(slim, metric) == value_of(whole, metric), metric
    for metric, what in (
        ("quantile.0.3", "quantile.0.3 of layers.0.hidden"),
        ("int4.clip_q0.8.sqnr_db", "the error of int4.clip_q0.8 at layers.0.hidden"),
        ("int4.max_abs.sqnr_db", "the error of int4.max_abs at layers.0.hidden"),
    ):
        with pytest.raises(InputError) as caught:
            value_of(slim, metric)
        assert str(caught.value) == f"the Record is slim and does not hold {what}\n  measure again without `slim`"
