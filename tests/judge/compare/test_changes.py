"""How far two Records are apart: figures by hand and by brute force on raw values, symmetric where they should be,
never small where none can be told.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.compare.changes import drop, growth, record_change, shift, site_change
from pytest_maxact.judge.compare.jumps import first_jump, jump_shift, new_massive_layers
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.verdict.bound import holds
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.record.metrics.metric import GROWTH, INT8_SQNR, JUMP, MASSIVE, SHIFT, SHRINK, Metric, drop_of
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from tests.support import records
from tests.support.records import bf16

BROKEN = [math.nan, math.inf, -math.inf]
patient = settings(deadline=None)
positive = st.floats(1e-6, 1e30)
entries = st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=40).map(bf16)


def reading(*values: float) -> SiteReading:
    return records.reading(values, values)


def residual(*maxima: float, massive: Sequence[int] | None = None) -> Record:
    """A Record whose embedding and layers have these largest magnitudes, and so many massive tokens at each layer."""
    names = ["embedding", *(f"layers.{i}.hidden" for i in range(len(maxima) - 1))]
    record = records.record({name: [[value, 0.0]] for name, value in zip(names, maxima, strict=True)})
    if massive is None:
        return record
    found = {
        name: replace(record[name], massive=Massive(tokens=n, entries=n))
        for name, n in zip(names[1:], massive, strict=True)
    }
    return replace(record, sites={**record.sites, **found})


def relative(metric: Metric, bound: float, site: str = "layers.0.hidden", floor: float | None = None) -> Limit:
    return Limit(
        site=site,
        metric=metric,
        bound=bound,
        sense="max",
        rule="regression against v1",
        source="",
        file="limits.yaml",
        line=3,
        against="v1",
        floor=floor,
    )


# Growth and shrinking


@pytest.mark.parametrize(
    ("before", "after", "floor", "factor"),
    [
        (2.0, 6.0, 0.0, 3.0),
        (6.0, 2.0, 0.0, 1 / 3),
        (0.0, 0.0, 0.0, 1.0),
        (0.0, 1e-30, 0.0, math.inf),
        (5.0, 0.0, 0.0, 0.0),
        (0.0, 0.75, 0.5, 1.5),
        (0.125, 0.25, 0.5, 1.0),
        (0.25, 4.0, 0.5, 8.0),
        (4.0, 0.25, 0.5, 0.125),
    ],
)
def test_growth_is_after_over_before_and_a_floor_lifts_small_magnitudes(
    before: float, after: float, floor: float, factor: float
) -> None:
    assert growth(before, after, floor) == pytest.approx(factor)


@patient
@given(positive, positive)
def test_there_and_back_again_is_one(before: float, after: float) -> None:
    assert growth(before, after, 0.0) * growth(after, before, 0.0) == pytest.approx(1.0)


@patient
@given(positive, positive, st.floats(0, 1e6))
def test_a_floor_never_makes_a_change_larger(before: float, after: float, floor: float) -> None:
    floored, plain = growth(before, after, floor), growth(before, after, 0.0)
    assert abs(math.log(floored)) <= abs(math.log(plain)) + 1e-12
    assert floored == pytest.approx(plain) or min(before, after) < floor


@pytest.mark.parametrize("bad", BROKEN)
@pytest.mark.parametrize("floor", [0.0, 1e30])
def test_nothing_grows_from_or_to_what_is_not_finite(bad: float, floor: float) -> None:
    assert math.isnan(growth(bad, 1.0, floor))
    assert math.isnan(growth(1.0, bad, floor))


# Shift


def brute_force(one: Sequence[float], other: Sequence[float]) -> float:
    """The distance of Kolmogorov and Smirnov, counted entry by entry."""
    places = [abs(value) for value in (*one, *other)]
    shares = [
        [sum(abs(value) <= place for value in values) / len(values) for place in places] for values in (one, other)
    ]
    return max(abs(a - b) for a, b in zip(*shares, strict=True))


@patient
@given(entries, entries)
def test_shift_is_the_largest_difference_of_shares(one: np.ndarray, other: np.ndarray) -> None:
    assert shift(reading(*one), reading(*other)) == pytest.approx(brute_force(list(one), list(other)))


@patient
@given(entries, entries)
def test_shift_is_symmetric_a_share_and_nothing_to_itself(one: np.ndarray, other: np.ndarray) -> None:
    there, back = shift(reading(*one), reading(*other)), shift(reading(*other), reading(*one))
    assert there == back
    assert 0.0 <= there <= 1.0
    assert shift(reading(*one), reading(*one)) == 0.0


def test_shift_does_not_hang_on_signs_on_order_or_on_how_many_entries_there_are() -> None:
    assert shift(reading(1.0, -2.0, 4.0), reading(4.0, 4.0, 2.0, -2.0, -1.0, 1.0)) == 0.0


def test_distributions_that_do_not_meet_are_all_apart() -> None:
    assert shift(reading(1.0, 2.0), reading(3.0, 4.0)) == 1.0


def test_twice_the_spread_of_a_normal_distribution_is_a_third() -> None:
    noise = np.random.default_rng(0).normal(size=20_000)
    assert shift(reading(*bf16(noise)), reading(*bf16(2 * noise))) == pytest.approx(0.33, abs=0.02)


def test_a_shift_spans_encodings() -> None:
    half = records.holding(
        reading(1.0, 2.0),
        calibration=records.histogram([1.0, 2.0], "float16"),
        evaluation=records.histogram([4.0], "float16"),
    )
    assert shift(half, reading(1.0, 2.0, 4.0)) == 0.0


@pytest.mark.parametrize("bad", BROKEN)
def test_what_is_not_finite_has_no_shift(bad: float) -> None:
    assert math.isnan(shift(reading(1.0, bad), reading(1.0)))
    assert math.isnan(shift(reading(1.0), reading(1.0, bad)))
    assert math.isnan(shift(reading(bad), reading(bad)))


def test_nothing_seen_has_no_shift() -> None:
    assert math.isnan(shift(reading(), reading(1.0)))
    assert math.isnan(shift(reading(1.0), reading()))


def test_the_shift_of_a_slim_record_is_refused_rather_than_small() -> None:
    record = residual(1.0, 2.0)
    with pytest.raises(InputError, match="the Record is slim and does not hold histograms"):
        shift(record["embedding"], summary(record)["embedding"])


# Loss


@pytest.mark.parametrize(
    ("before", "after", "floor", "lost"),
    [
        (40.0, 35.0, math.inf, 5.0),
        (35.0, 40.0, math.inf, 0.0),
        (40.0, 35.0, 30.0, 0.0),
        (40.0, 30.0, 30.0, 0.0),
        (40.0, 29.5, 30.0, 10.5),
        (28.0, 20.0, 30.0, 8.0),
        (math.inf, 25.0, 30.0, math.inf),
        (math.inf, math.inf, 30.0, 0.0),
        (math.inf, math.inf, math.inf, 0.0),
        (20.0, -math.inf, 30.0, math.inf),
    ],
)
def test_a_loss_counts_below_the_floor_only_and_then_in_full(
    before: float, after: float, floor: float, lost: float
) -> None:
    assert drop(before, after, floor) == lost


@pytest.mark.parametrize("pair", [(math.nan, 40.0), (40.0, math.nan), (math.nan, math.nan)])
@pytest.mark.parametrize("floor", [0.0, math.inf])
def test_no_loss_is_told_of_no_number(pair: tuple[float, float], floor: float) -> None:
    assert math.isnan(drop(*pair, floor))


# By name


def test_changes_by_name() -> None:
    before, after = reading(1.0, 4.0), reading(1.0, 16.0)
    assert site_change(before, after, GROWTH, None) == 4.0
    assert site_change(before, after, SHRINK, None) == 0.25
    assert site_change(after, before, SHRINK, None) == 4.0
    assert site_change(before, after, SHIFT, None) == 0.5
    assert site_change(before, after, GROWTH, 8.0) == 2.0


def test_the_drop_of_a_metric_is_its_loss() -> None:
    """One coarse entry more in the evaluation split takes quality away, in decibels that a direct computation gives
    too.
    """
    name = "int8.max_abs.sqnr_db"
    values = bf16(np.linspace(-1, 1, 50))
    coarse = np.append(values, 100.0)

    def sqnr(array: np.ndarray) -> float:
        scale = np.abs(array).max() / 127
        error = array - np.clip(np.rint(array / scale), -127, 127) * scale
        return float(10 * np.log10((array**2).sum() / (error**2).sum()))

    lost = site_change(reading(*values), reading(*np.append(values, 1.0)), Metric.parse(f"{name}.drop"), None)
    assert lost == pytest.approx(max(0.0, sqnr(values) - sqnr(np.append(values, 1.0))), abs=1e-6)
    half = records.reading(coarse, values)
    restored = np.rint(values / (100 / 127)) * (100 / 127)
    expected = sqnr(values) - 10 * np.log10((values**2).sum() / ((values - restored) ** 2).sum())
    assert site_change(reading(*values), half, Metric.parse(f"{name}.drop"), None) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["max_abs", "W8A8.mean_kl", MASSIVE.name])
def test_a_figure_that_is_no_change_of_a_site_is_refused(metric: str) -> None:
    with pytest.raises(InputError, match=f"no relative metric called '{metric}'"):
        site_change(reading(1.0), reading(1.0), Metric.parse(metric), None)


@pytest.mark.parametrize("metric", ["", "drop", "growths", "sqnr.drop"])
def test_an_unknown_change_is_refused(metric: str) -> None:
    with pytest.raises(InputError, match="no metric called"):
        site_change(reading(1.0), reading(1.0), Metric.parse(metric), None)


def test_an_unknown_change_of_the_whole_model_is_refused() -> None:
    with pytest.raises(InputError, match="no relative metric of the whole model called 'growth'"):
        record_change(residual(1.0, 1.0), residual(1.0, 1.0), GROWTH, None)


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
        with pytest.raises(MeasureError, match="not tested for massive activations"):
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


# Verdicts on changes


@patient
@given(st.sampled_from([math.nan, math.inf]), st.floats(0, 1e300))
def test_no_relative_limit_passes_what_is_no_number_or_has_no_bound(value: float, bound: float) -> None:
    assert not holds(value, relative(GROWTH, bound))


@pytest.mark.parametrize("bad", BROKEN)
@pytest.mark.parametrize("broken", ["before", "after", "both"])
@pytest.mark.parametrize("metric", [GROWTH, SHRINK, SHIFT, drop_of(INT8_SQNR), MASSIVE, JUMP])
def test_a_broken_side_fails_every_relative_limit_of_its_site(metric: str, broken: str, bad: float) -> None:
    sound, bad_one = residual(1.0, 2.0), residual(1.0, bad)
    site = "model" if metric in (MASSIVE, JUMP) else "layers.0.hidden"
    limit = relative(metric, 1e6, site, floor=0.0)
    assert check(sound, limit, sound).passed
    before, after = {"before": (bad_one, sound), "after": (sound, bad_one), "both": (bad_one, bad_one)}[broken]
    finding = check(after, limit, before)
    assert math.isnan(finding.value)
    assert not finding.passed
    assert "entries that are NaN or infinite" in finding.message


def test_growth_is_told_with_both_figures_the_place_and_the_limit() -> None:
    finding = check(residual(1.0, 8.0), relative(GROWTH, 2.0), residual(1.0, 2.0))
    assert not finding.passed
    assert (
        finding.message
        == "layers.0.hidden: max_abs grew 4 times, from 2 to 8 at sample s0, token 0 't0', channel 0, which exceeds the"
        " limit 2; regression against v1 (limits.yaml:3)"
    )


@pytest.mark.parametrize(("factor", "passes"), [(2.0, True), (2.015625, False), (1.0, True)])
def test_a_change_passes_up_to_its_limit(factor: float, passes: bool) -> None:
    assert check(residual(1.0, 4.0 * factor), relative(GROWTH, 2.0), residual(1.0, 4.0)).passed == passes
    assert check(residual(1.0, 4.0), relative(SHRINK, 2.0), residual(1.0, 4.0 * factor)).passed == passes


def test_the_jump_that_moved_is_told_by_its_layers() -> None:
    before, after = residual(1.0, 20.0, 20.0, 20.0), residual(1.0, 1.0, 1.0, 20.0)
    assert check(after, relative(JUMP, 1.0, "model"), before).message.startswith(
        "the first jump layer went from layer 0 to layer 2, which exceeds the limit 1;"
    )
    assert check(before, relative(JUMP, 0.0, "model"), before).message.startswith(
        "the first jump layer stays (layer 0), which within"
    )
    gone = check(residual(1.0, 1.0, 1.0, 1.0), relative(JUMP, 99.0, "model"), before)
    assert (gone.passed, gone.value) == (False, math.inf)
    assert gone.message.startswith("the first jump layer went from layer 0 to none")


def test_a_block_that_died_has_shrunk_without_measure_however_small_it_was() -> None:
    assert site_change(reading(0.25, 0.125), reading(0.0, 0.0), SHRINK, 0.5) == math.inf
    assert site_change(reading(0.0, 0.0), reading(0.0, 0.0), SHRINK, 0.5) == 1.0
    assert site_change(reading(0.25), reading(0.125), SHRINK, 0.5) == 1.0


def test_a_near_jump_of_both_hides_no_jump_of_one() -> None:
    assert jump_shift(residual(1.0, 9.0, 9.0, 9.0), residual(1.0, 9.0, 9.0, 450.0)) == math.inf
    assert jump_shift(residual(1.0, 9.0, 180.0, 180.0), residual(1.0, 9.0, 9.0, 450.0)) == 1.0


def test_a_jump_to_a_magnitude_about_the_floor_may_count_or_not() -> None:
    assert jump_shift(residual(0.5, 9.9375), residual(0.5, 10.0), 10.0) == 0.0
    assert jump_shift(residual(0.5, 7.5), residual(0.5, 13.0), 10.0) == math.inf


def test_no_baseline_is_no_verdict() -> None:
    with pytest.raises(MeasureError, match=r"there is no baseline v1 to compare with\n  give it with `baseline`"):
        check(residual(1.0, 1.0), relative(GROWTH, 2.0), None)


@pytest.mark.parametrize("field", ["corpus_sha256", "tokenizer_sha256", "protocol", "dtype", "max_seq_len"])
def test_a_baseline_that_was_measured_otherwise_is_no_verdict(field: str) -> None:
    record = residual(1.0, 1.0)
    other = replace(record, provenance=replace(record.provenance, **{field: "another"}))
    for site, metric in (("layers.0.hidden", GROWTH), ("model", JUMP)):
        with pytest.raises(InputError, match=f"were not measured alike; they differ in {field}"):
            check(record, relative(metric, 2.0, site), other)


def test_a_site_on_one_side_only_is_no_verdict() -> None:
    more, less = residual(1.0, 1.0, 1.0), residual(1.0, 1.0)
    with pytest.raises(MeasureError, match=r"layers\.1\.hidden: v1 holds nothing of this site to compare with"):
        check(more, relative(GROWTH, 2.0, "layers.1.hidden"), less)
    with pytest.raises(MeasureError, match=r"layers\.1\.hidden: the Record holds nothing of this site"):
        check(less, relative(GROWTH, 2.0, "layers.1.hidden"), more)


@pytest.mark.parametrize("split", ["calibration", "evaluation"])
def test_a_quality_without_one_of_the_splits_is_no_verdict(split: str) -> None:
    """With no entry to restore nothing is lost: the SQNR would be infinite, and no drop from it could be seen."""
    record = residual(1.0, 2.0)
    hollow = records.holding(record["layers.0.hidden"], **{split: records.histogram([])})
    halved = replace(record, sites={**record.sites, "layers.0.hidden": hollow})
    for before, after in ((record, halved), (halved, record), (halved, halved)):
        with pytest.raises(MeasureError, match="a split holds nothing of this site"):
            check(after, relative(drop_of(INT8_SQNR), 3.0), before)


@pytest.mark.parametrize("magnitude", [5.0, 2.0**100])
def test_from_a_layer_of_zeros_nothing_jumps(magnitude: float) -> None:
    """There is nothing to multiply: whether the zeros are sound is another check's to say."""
    assert first_jump(residual(0.0, magnitude)) is None
    assert first_jump(residual(0.0, magnitude, 10 * magnitude)) == 1, "and it hides no jump behind it"
    assert jump_shift(residual(0.0, magnitude, magnitude), residual(1.0, 1.0, 1.0)) == 0.0
    assert jump_shift(residual(0.0, magnitude, magnitude), residual(1.0, 20.0, 20.0)) == math.inf


def test_to_a_layer_of_zeros_nothing_jumps() -> None:
    assert first_jump(residual(5.0, 0.0, 0.0)) is None
    assert first_jump(residual(0.0, 0.0)) is None


@pytest.mark.parametrize("bad", BROKEN)
def test_the_step_to_what_is_not_finite_is_a_jump_and_no_verdict(bad: float) -> None:
    broken = residual(1.0, 2.0, bad, bad)
    assert first_jump(broken) == 1
    assert math.isnan(record_change(residual(1.0, 2.0, 2.0, 2.0), broken, JUMP, None))
