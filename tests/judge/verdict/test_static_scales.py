"""Static scales of an artifact are held against the exact maxima and histograms of what they quantize: too narrow and
too wide ones are red, by name, with the scale that would do; fair ones are green.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_maxact.errors import MeasureError
from pytest_maxact.judge.limits.file import parse_limits
from pytest_maxact.judge.verdict.check import check_bound
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.verdict import verdict
from pytest_maxact.numbers.static import StaticScale
from pytest_maxact.record.file import load, save
from pytest_maxact.record.merge import merge
from pytest_maxact.record.record import Record
from pytest_maxact.record.static import HeldScale, held_of, held_scales
from pytest_maxact.record.summary import summary
from tests.support import records
from tests.support.reports import data_of
from tests.support.static_scales import DOWN, calibrated, measured

K = "model.layers.1.self_attn.k_scale"
NUMBERS = ("fp8_e4m3", "int8", "fp4_e2m1")


def of_scales(record: Record, text: str = "") -> dict[str, Finding]:
    files = parse_limits(f"version: 1\nextends: builtin\n{text}", Path("limits.yaml"))
    found = verdict(record, files, family="generic")
    return {one.limit.check: one for one in found if one.limit.metric.name.startswith("static_")}


def red(record: Record, text: str = "") -> list[str]:
    return [name for name, one in of_scales(record, text).items() if not one.accepted]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("factor", [0.9, 1.0, 1.2])
def test_fair_scales_pass_five_checks(number: str, factor: float) -> None:
    record = calibrated(number, factor)
    assert red(record) == []
    assert len(of_scales(record)) == 5


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("tensor", [DOWN, K])
def test_one_that_is_too_narrow_is_named_with_what_would_do(number: str, tensor: str) -> None:
    record = calibrated(number, 0.1, tensor)
    found = of_scales(record)
    assert f"weights.{tensor}::static_sqnr_db" in red(record)
    assert f"weights.{tensor}::static_overflow" in red(record)
    assert {name.partition("::")[0] for name in red(record)} == {"weights", f"weights.{tensor}"}
    message = found[f"weights.{tensor}::static_clip_rate"].message
    held = next(one for one in record.static or () if one.tensor == tensor)
    assert f"{tensor} (layer 1)" in message
    assert f"{held.would:.4g} would give {held.would_db:.1f} dB" in message
    assert held.most == pytest.approx(10 * held.reach)


@pytest.mark.parametrize("number", NUMBERS)
def test_one_that_is_too_wide_is_red_and_integers_lose_their_sqnr(number: str) -> None:
    names = red(calibrated(number, 100.0, DOWN))
    assert f"weights.{DOWN}::static_spare" in names
    assert (f"weights.{DOWN}::static_sqnr_db" in names) == (number == "int8")


def of_lone(largest: float, factor: float) -> HeldScale:
    """A scale in FP8 that reaches `factor` times the one entry which holds the energy, all others around 1."""
    values = np.random.default_rng(0).normal(size=(64, 32))
    values[0, 0] = largest
    name = "layers.1.down_in"
    site = replace(records.reading(values, values, name), shared={DOWN.removesuffix(".input_scale"): "down"})
    scale = StaticScale(
        tensor=DOWN, module=DOWN.removesuffix(".input_scale"), part="input", number="fp8_e4m3",
        stated=factor * largest / 448, reach=factor * largest, layer=1,
    )  # fmt: skip
    (held,) = held_scales([scale], {name: site})
    return held


@pytest.mark.parametrize(
    ("factor", "least", "most"), [(1.1, 0, 2), (1.9, 4, 6), (4, 11, 13), (16, 20, 30), (60, 25, 40)]
)
def test_what_too_wide_a_scale_does_to_all_but_a_lone_large_entry_is_its_loss(
    factor: float, least: float, most: float
) -> None:
    """The others have few numbers left, or none, of which SQNR beside a rounded large entry shows nothing."""
    held = of_lone(32768.0, factor)
    assert held.clip_rate == 0
    assert least <= held.loss_db <= most


@pytest.mark.parametrize(("place", "most"), [(272, 0.0), (304, 0.0), (440, 0.0), (1120, 20.2), (4480, 23.7)])
def test_that_a_lone_large_entry_lies_between_two_numbers_is_no_loss(place: int, most: float) -> None:
    """Its error is chance, as long as it is not clipped; a scale that reaches no more than 448 of `place` cuts it."""
    held = of_lone(4096.0, 448 / place)
    assert held.best_db > 60, "a scale to the largest entry gives it back as it is"
    assert (held.loss_db > 6) == (most > 6)
    assert held.loss_db == pytest.approx(most, abs=0.3)


def test_integers_ten_times_too_wide_lose_to_the_scale_that_would_do() -> None:
    assert f"weights.{DOWN}::static_loss_db" in red(calibrated("int8", 10.0, DOWN))


@pytest.mark.parametrize("reach", [0.0, float("inf"), float("nan")])
def test_one_that_reaches_nothing_or_everything_is_red(reach: float) -> None:
    record = calibrated(change=lambda one: replace(one, reach=reach) if one.tensor == DOWN else one)
    assert any(name.startswith(f"weights.{DOWN}::") for name in red(record))


def test_where_none_is_there_though_config_calls_for_them_every_check_fails() -> None:
    record = measured()
    assert record.provenance.low_bits is not None
    low_bits = replace(record.provenance.low_bits, static=())
    without = replace(record, static=held_of(low_bits, record.sites))
    assert len(red(without)) == 5
    assert "none is of anything that was read" in of_scales(without)["weights::static_sqnr_db"].message


@pytest.mark.parametrize(("call", "what"), [("input", "inputs"), ("cache", "the cache")])
def test_scales_of_inputs_do_not_stand_for_those_of_the_cache_nor_the_other_way(call: str, what: str) -> None:
    record = calibrated()
    low_bits = record.provenance.low_bits
    assert low_bits is not None
    left = tuple(one for one in low_bits.static if (one.part == "input") != (call == "input"))
    assert left
    without = replace(record, static=held_of(replace(low_bits, static=left), record.sites))
    assert len(red(without)) == 5
    assert f"calls for them for {what}, and none is" in of_scales(without)["weights::static_sqnr_db"].message


def test_a_site_that_is_not_finite_passes_nothing() -> None:
    record = measured()
    broken = {name: replace(one, as_deployed=float("inf")) for name, one in record.sites.items()}
    assert "weights::static_overflow" in red(replace(record, static=held_of(record.provenance.low_bits, broken)))


def test_one_that_text_as_deployed_exceeds_overflows() -> None:
    record = calibrated()
    assert record.provenance.low_bits is not None
    name = "layers.1.down_in"
    sites = {**record.sites, name: replace(record.sites[name], as_deployed=20 * record.sites[name].max_abs)}
    held = replace(record, static=held_of(record.provenance.low_bits, sites))
    assert f"weights.{DOWN}::static_overflow" in red(held)
    assert f"weights.{DOWN}::static_sqnr_db" not in red(held)


def test_a_cache_scale_of_exactly_one_is_told_by_sqnr_alone() -> None:
    record = calibrated(change=lambda one: replace(one, stated=1.0, reach=448.0) if one.tensor == K else one)
    assert red(record) == []
    other = calibrated(change=lambda one: replace(one, stated=2.0, reach=896.0) if one.tensor == K else one)
    assert red(other) == ["weights::static_spare", f"weights.{K}::static_spare"]


def test_bounds_are_those_of_a_limits_file_and_waivers_name_tensors() -> None:
    narrow = calibrated("fp8_e4m3", 0.5, DOWN)
    loose = "generic: {static_scales: {min_sqnr_db: 0, max_loss_db: 100, max_clip_rate: 1, max_overflow: 100}}"
    assert red(narrow)
    assert red(narrow, loose) == []
    from datetime import date

    day = f"{date.today().year}-12-31"
    waiver = f'waive: [{{site: "weights.{DOWN}", metric: "static_*", reason: known, owner: me, until: {day}}}]'
    assert red(narrow, waiver) == []
    assert red(calibrated("fp8_e4m3", 0.1), waiver)


def test_figures_stay_in_a_record_a_summary_and_the_whole_of_parts(tmp_path: Path) -> None:
    record = calibrated("fp8_e4m3", 0.1, DOWN)
    for name, one in (("whole", record), ("slim", summary(record))):
        save(one, tmp_path / f"{name}.safetensors")
        again = load(tmp_path / f"{name}.safetensors")
        assert again.static == record.static
        assert red(again) == red(record)
    assert merge([record]).static == record.static
    data = data_of(record)["static_scales"]
    assert next(entry for entry in data if entry["tensor"] == DOWN)["overflow"] == pytest.approx(10)


@pytest.mark.parametrize("slim", [False, True])
def test_figures_that_histograms_do_not_bear_out_are_refused(slim: bool, tmp_path: Path) -> None:
    record = calibrated("fp8_e4m3", 0.1, DOWN)
    fair = tuple(replace(held, reach=held.most, sqnr_db=31.0, clip_rate=0.0) for held in record.static or ())
    lenient = tuple(replace(held, fair_db=0.0) for held in record.static or ())
    if not slim:
        save(replace(record, static=lenient), tmp_path / "b.safetensors")
        with pytest.raises(Exception, match="static"):
            load(tmp_path / "b.safetensors")
        earlier = replace(record, static=tuple(replace(held, fair_db=None) for held in record.static or ()))
        save(earlier, tmp_path / "c.safetensors")
        assert load(tmp_path / "c.safetensors") == earlier
    forged = replace(summary(record) if slim else record, static=fair)
    save(forged, tmp_path / "a.safetensors")
    with pytest.raises(Exception, match="static"):
        load(tmp_path / "a.safetensors")


def test_a_record_without_them_has_no_check_of_them() -> None:
    record = replace(measured(), static=None)
    assert of_scales(record) == {}
    with pytest.raises(MeasureError, match="no static scale"):
        check_bound(record, "weights", "static_spare", 2, "max")
