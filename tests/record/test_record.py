"""What a Record says of its sites and of the whole."""

import math
from dataclasses import replace

import pytest

from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.record import Record, first_broken
from tests.support import records
from tests.support.records import record_of
from tests.support.samples import measured


@pytest.fixture
def record() -> Record:
    return record_of(measured(6))


def test_a_site_is_read_by_its_name(record: Record) -> None:
    assert record["layers.1.hidden"].site == Site(kind="hidden", layer=1, module="model.layers.1.hidden")


def test_an_unknown_site_is_answered_with_the_closest_names(record: Record) -> None:
    with pytest.raises(
        KeyError, match=r"no site 'layers.1.hiden' in this Record; did you mean layers.1.hidden or layers.0.hidden\?"
    ):
        record["layers.1.hiden"]
    with pytest.raises(KeyError, match="no site 'zzz' in this Record; it has 6 sites"):
        record["zzz"]


def test_tokens_are_those_of_all_samples() -> None:
    samples = measured(5)
    assert record_of(samples).tokens == sum(sample.tokens for sample in samples)


def test_a_reading_joins_its_splits(record: Record) -> None:
    for reading in record.sites.values():
        assert reading.histogram == reading.calibration + reading.evaluation
        assert reading.count == reading.histogram.count == record.tokens * 4
        assert reading.nonfinite == reading.histogram.nonfinite
        assert reading.finite_max == reading.histogram.max_abs
        assert reading.max_abs == (math.inf if reading.nonfinite else reading.finite_max)
    assert record["layers.0.gate"].nonfinite == 2


def test_a_float32_site_keeps_the_exact_maximum_beside_its_rounded_histogram() -> None:
    exact = Peak(value=-1000.123, sample="s0", position=0, token="t", token_id=1, channel=0)
    reading = replace(records.reading([1000.0], [1.0]), dtype="float32", peaks=(exact,))
    assert reading.max_abs == 1000.123
    assert reading.histogram.max_abs == 1000.0


def carrier_of(values: dict[str, float]) -> str:
    """The carrier's name, whichever way round the readings are held."""
    whole = records.record({name: [[value]] for name, value in values.items()})
    around = replace(whole, sites=dict(list(whole.sites.items())[::-1]))
    assert whole.carrier == around.carrier
    return whole.carrier.site.name


def test_the_carrier_is_the_counted_site_with_the_largest_magnitude() -> None:
    assert (
        carrier_of({"embedding": 1.0, "layers.0.hidden": -9.0, "layers.1.hidden": 8.0, "final_norm": 2.0})
        == "layers.0.hidden"
    )
    assert carrier_of({"embedding": 1.0, "layers.0.hidden": 2.0, "final_norm": 4.0}) == "final_norm"


def test_gates_and_routers_do_not_carry() -> None:
    assert carrier_of({"layers.0.hidden": 2.0, "layers.0.gate": 50.0, "layers.0.router": 60.0}) == "layers.0.hidden"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_site_that_is_not_finite_carries_whatever_is_finite_elsewhere(bad: float) -> None:
    whole = records.record(
        {"layers.0.hidden": [[90.0, 1.0]], "layers.1.hidden": [[1.0, bad]], "final_norm": [[2.0, bad]]}
    )
    assert whole.carrier.site.name == "layers.1.hidden"
    assert whole.carrier.max_abs == math.inf


def test_of_equal_carriers_the_shallowest_is_named() -> None:
    assert carrier_of({"layers.10.hidden": -7.0, "layers.9.hidden": 7.0, "final_norm": 7.0}) == "layers.9.hidden"
    assert carrier_of({"final_norm": 7.0, "embedding": -7.0, "layers.0.hidden": 7.0}) == "embedding"
    assert (
        carrier_of({"layers.2.mlp_output": 7.0, "layers.2.attn_output": 7.0, "layers.2.hidden": 7.0})
        == "layers.2.hidden"
    )


def test_the_first_broken_site_is_where_values_arise_first() -> None:
    """Within a layer the blocks come before the residual stream that they write to."""
    values = {name: [[1.0, 2.0]] for name in ("embedding", "layers.0.hidden", "layers.0.mlp_output", "final_norm")}
    assert first_broken(records.record(values).sites.values()) is None
    broken = values | {name: [[1.0, math.nan]] for name in ("layers.0.hidden", "layers.0.mlp_output", "final_norm")}
    found = first_broken(records.record(broken).sites.values())
    assert found is not None
    assert found.site.name == "layers.0.mlp_output"
