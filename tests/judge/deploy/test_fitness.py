"""Fitness for low bits: which limits speak, what passes and what does not, and the advice that follows from the same
Record.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.deploy.advice import in_words
from pytest_maxact.judge.deploy.fitness import bounds_on_effects, failing_sites, fitness_of
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.limit import MODEL
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.numbers.channels import smoothing_gain_db
from pytest_maxact.numbers.sums import SchemeSums
from pytest_maxact.record.effect import KEPT
from pytest_maxact.record.reading import distributions_of
from tests.support import records
from tests.support.fitness import CALM, SITES, effect, fitness, measured, report, rules_for, sums, weight, write
from tests.support.metrics import value_of

# Which limits speak


def test_every_linear_input_and_its_weights_are_checked_for_a_scheme_that_quantizes_both() -> None:
    limits = rules_for(measured(), "W8A8").fitness
    assert {limit.site for limit in limits} == set(SITES)
    assert {(limit.metric.name, limit.sense, limit.bound) for limit in limits if limit.site == SITES[0]} == {
        ("W8A8.sqnr_db", "min", 20.0),
        ("W8A8.flush_to_zero", "max", 0.5),
        ("W8A8.weight_sqnr_db", "min", 20.0),
        ("W8A8.weight_flush_to_zero", "max", 0.5),
    }
    assert len(limits) == 4 * len(SITES)


def test_a_scheme_of_weights_alone_checks_weights_alone_and_a_format_with_a_range_every_site() -> None:
    record = measured("W4A16")
    assert {limit.metric.name for limit in rules_for(record, "W4A16").fitness} == {
        "W4A16.weight_sqnr_db",
        "W4A16.weight_flush_to_zero",
    }
    headroom = rules_for(record, "FP16").fitness
    assert {limit.metric.name for limit in headroom} == {
        "FP16.headroom",
        "FP16.score_headroom",
        "FP16.weight_sqnr_db",
        "FP16.weight_flush_to_zero",
    }
    assert {limit.site for limit in headroom if limit.metric.name == "FP16.headroom"} == set(record.sites)
    assert [limit.site for limit in headroom if limit.metric.name == "FP16.score_headroom"] == [MODEL]
    assert {limit.site for limit in headroom if limit.metric.name == "FP16.weight_sqnr_db"} == set(SITES)


def test_predictions_are_checked_once_where_the_model_makes_any() -> None:
    (limit,) = [limit for limit in rules_for(measured(), "W8A8", predicts=True).fitness if limit.site == MODEL]
    assert (limit.check, limit.sense, limit.bound) == ("model::W8A8.mean_kl", "max", 0.1)
    assert not [limit for limit in rules_for(measured(), "W8A8").fitness if limit.site == MODEL]


def test_the_scheme_before_all_schemes_and_the_own_file_before_the_shipped_one(tmp_path: Path) -> None:
    own = write(
        tmp_path / "own.yaml",
        "extends: builtin\ndeploy:\n  min_sqnr_db: 25\n  schemes:\n    W8A8: {min_sqnr_db: 31, min_token_low_db: 10}\n",
    )
    record = measured()

    def bounds(scheme: str, path: Path | None) -> dict[str, tuple[float, int]]:
        limits = rules_for(record, scheme, limits=path).fitness
        return {limit.metric.quantity: (limit.bound, limit.line) for limit in limits if limit.site == SITES[0]}

    assert bounds("W8A8", own)["sqnr_db"] == (31.0, 6)
    assert bounds("W8A8", own)["token_low_db"] == (10.0, 6)
    assert bounds("FP8", own)["sqnr_db"] == (25.0, 4)
    assert bounds("FP8", own)["flush_to_zero"][0] == 0.5
    assert bounds("NVFP4", None)["sqnr_db"][0] == 16.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "extends: builtin\ndeploy: {min_sqnr: 20}\n",
            r"own.yaml:3: deploy.min_sqnr: unknown key; did you mean 'min_sqnr_db'\?",
        ),
        (
            "extends: builtin\ndeploy: {schemes: {INT3: {min_sqnr_db: 20}}}\n",
            "own.yaml:3: deploy.schemes: no scheme called 'INT3'; there are W8A8",
        ),
        (
            "extends: builtin\ndeploy: {max_flush_to_zero: 2}\n",
            "own.yaml:3: deploy.max_flush_to_zero: should be less than or equal to 1",
        ),
        ("extends: builtin\ndeploy: {max_mean_kl: .nan}\n", "own.yaml:3: deploy.max_mean_kl: "),
    ],
)
def test_a_deploy_section_that_says_nothing_sound_is_refused_with_its_line(
    text: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=problem):
        load_limits(write(tmp_path / "own.yaml", text))


def test_a_scheme_that_no_limit_speaks_about_is_refused(tmp_path: Path) -> None:
    alone = write(tmp_path / "alone.yaml", "generic: {max_abs: 100}\n")
    with pytest.raises(InputError, match="sets no limit for scheme W8A8, so nothing would be checked"):
        rules_for(measured(), "W8A8", limits=alone)


# What passes


def test_it_fits_where_every_bound_holds() -> None:
    found = fitness(measured(effects={"W8A8": effect("W8A8", 0.01)}), predicts=True)
    assert found.passed
    assert found.advice == ()
    assert found.lowest == (pytest.approx(40.0), SITES[0])


@pytest.mark.parametrize(
    ("worst", "metric"),
    [
        (sums(19.9), "sqnr_db"),
        (sums(12.0, flushed=0.999), "flush_to_zero"),
        (sums(60.0, flushed=0.999), "flush_to_zero"),
    ],
)
def test_a_low_sqnr_fails_and_so_does_a_high_one_with_nearly_everything_at_zero(worst: SchemeSums, metric: str) -> None:
    found = fitness(measured(worst={"layers.2.down_in": worst}))
    assert not found.passed
    assert f"layers.2.down_in::W8A8.{metric}" in {finding.limit.check for finding in found.breaches}


def test_twelve_decibel_with_nearly_everything_at_zero_fails_even_where_twelve_is_allowed(tmp_path: Path) -> None:
    loose = write(tmp_path / "own.yaml", "extends: builtin\ndeploy: {min_sqnr_db: 10}\n")
    record = measured(worst={"layers.2.down_in": sums(12.0, flushed=0.999)})
    (found,) = fitness_of(record, rules_for(record, "W8A8", limits=loose).fitness)
    assert [finding.limit.check for finding in found.breaches] == ["layers.2.down_in::W8A8.flush_to_zero"]


@pytest.mark.parametrize("kl", [0.2, math.nan, math.inf])
def test_predictions_that_part_from_the_models_own_fail(kl: float) -> None:
    found = fitness(measured(effects={"W8A8": effect("W8A8", kl)}), predicts=True)
    assert [finding.limit.check for finding in found.breaches] == ["model::W8A8.mean_kl"]
    assert found.advice == (
        (
            "every linear input and weight meets its bounds, and predictions part all the same; no linear layer was"
            " tried alone in 16 bits"
        ),
    )


def test_without_predictions_compared_nothing_is_said_to_ship() -> None:
    found = fitness(measured(predicts=True))
    assert found.holds
    assert not found.passed
    assert "fits W8A8 site by site, predictions not compared (`effect`=W8A8)" in report(
        measured(predicts=True), "W8A8"
    ).replace("\n", " ")


def test_what_was_not_measured_does_not_fit() -> None:
    record = measured()
    limits = rules_for(record, "W8A8", predicts=True).fitness
    (found,) = fitness_of(record, limits)
    assert not found.passed
    assert not found.breaches
    assert "the Record holds no effect of W8A8 on predictions" in found.unmeasured
    (limit,) = [limit for limit in limits if limit.site == MODEL]
    with pytest.raises(MeasureError, match="measure again with `effect` W8A8"):
        check(record, limit)


def test_a_scheme_that_the_record_lacks_is_an_error_at_every_site() -> None:
    record = measured()
    for limit in rules_for(record, "FP8_DYNAMIC").fitness:
        with pytest.raises(MeasureError, match="measure again with `schemes` FP8_DYNAMIC"):
            check(record, limit)


@pytest.mark.parametrize("metric", ["W8A8.sqnr_db", "W8A8.flush_to_zero", "W8A8.token_low_db"])
def test_a_site_with_a_nan_has_no_figure_that_passes(metric: str) -> None:
    record = records.record({**CALM, "layers.1.o_in": [[1.0, math.nan, 2.0, 3.0]]})
    reading = records.holding(record["layers.1.o_in"], schemes={"W8A8": sums(40.0)})
    assert math.isnan(value_of(reading, metric))


def test_a_weight_that_a_scheme_cannot_quantize_has_no_figure_that_passes() -> None:
    reason = "60 is no multiple of its groups of 128"
    record = measured("W4A16", weights={"layers.1.o_in": weight(math.nan, reason)})
    found = fitness(record, "W4A16")
    (breach,) = found.breaches
    assert breach.limit.check == "layers.1.o_in::W4A16.weight_sqnr_db"
    assert f"layers.1.o_in.weight ({reason})" in breach.message


def test_the_message_names_the_worst_weight_and_where_the_limit_is_written() -> None:
    record = measured(weights={"layers.1.o_in": weight(11.5)})
    (breach,) = fitness(record).breaches
    assert breach.message.startswith(
        "layers.1.o_in: W8A8.weight_sqnr_db 11.5 in layers.1.o_in.weight falls below the limit 20; fitness for W8A8"
    )
    assert "thresholds.yaml:" in breach.message


def test_a_weight_of_which_nearly_all_becomes_zero_fails_whatever_its_sqnr() -> None:
    emptied = replace(weight(95.0), flush_to_zero=0.99998)
    found = fitness(measured(weights={"layers.1.o_in": emptied, "layers.2.o_in": weight(31.3)}))
    (breach,) = found.breaches
    assert breach.limit.check == "layers.1.o_in::W8A8.weight_flush_to_zero"
    assert "W8A8.weight_flush_to_zero 0.99998 in layers.1.o_in.weight exceeds the limit 0.5" in breach.message
    assert found.advice == ("passes site by site with o_in of layer 1 in 16 bits (1 of 16 linear inputs)",)


def test_one_expert_of_which_all_becomes_zero_fails_among_many_that_are_kept() -> None:
    experts = replace(weight(60.0), lowest_db=40.0, flush_to_zero=0.01, most_flushed=1.0)
    (breach,) = fitness(measured(weights={"layers.1.down_in": experts})).breaches
    assert (breach.limit.check, breach.value) == ("layers.1.down_in::W8A8.weight_flush_to_zero", 1.0)


def test_what_an_earlier_record_does_not_tell_of_single_experts_is_not_taken_as_kept() -> None:
    found = fitness(measured(weights={"layers.1.down_in": replace(weight(60.0), lowest_db=40.0)}))
    assert not found.passed
    assert found.unmeasured.startswith("layers.1.down_in: the Record holds no weight_flush_to_zero of its weights")


def test_an_unknown_quantity_of_a_scheme_is_an_error_that_names_it() -> None:
    with pytest.raises(InputError, match="W8A8 has no 'sqnr'"):
        value_of(measured()[SITES[0]], "W8A8.sqnr")
    with pytest.raises(InputError, match="W4A16 has no 'sqnr_db'"):
        value_of(measured("W4A16")[SITES[0]], "W4A16.sqnr_db")


@pytest.mark.parametrize(("peak", "headroom"), [(32752.0, 2.0), (65504.0, 1.0), (70144.0, 0.934)])
def test_the_headroom_of_fp16_is_its_largest_number_over_the_largest_entry(peak: float, headroom: float) -> None:
    reading = records.reading([[1.0]], [[peak]])
    assert value_of(reading, "FP16.headroom") == pytest.approx(headroom, rel=0.01)
    assert value_of(records.reading([[1.0]], [[math.inf]]), "FP16.headroom") == 0.0


# Advice


def test_few_failing_sites_are_to_be_kept_in_sixteen_bits() -> None:
    record = measured(worst={name: sums(8.0) for name in ("layers.1.down_in", "layers.3.down_in", "layers.3.o_in")})
    found = fitness(record)
    assert (
        found.advice[0]
        == "passes site by site with o_in of layer 3; down_in of layers 1, 3 in 16 bits (3 of 16 linear inputs)"
    )
    assert failing_sites(record, rules_for(record, "W8A8").fitness) == {
        "W8A8": ("layers.1.down_in", "layers.3.o_in", "layers.3.down_in")
    }


def test_with_an_effect_measured_while_they_are_kept_the_advice_says_what_it_is() -> None:
    worst = {"layers.1.down_in": sums(8.0)}
    effects = {"W8A8": effect("W8A8", 0.4), "W8A8" + KEPT: effect("W8A8", 0.02)}
    first, *_ = fitness(measured(worst=worst, effects=effects), predicts=True).advice
    assert first.endswith("(1 of 16 linear inputs); mean KL is then 0.02")
    effects["W8A8" + KEPT] = effect("W8A8", 0.3)
    first, *_ = fitness(measured(worst=worst, effects=effects), predicts=True).advice
    assert first.endswith("mean KL is then 0.3, still beyond its limit")


def test_a_scheme_that_fails_nearly_everywhere_is_not_to_be_mended_by_exceptions() -> None:
    record = measured(usual=sums(8.0))
    assert fitness(record).advice[0].startswith("fails at 16 of 16 linear inputs: qkv_in of layers 0-3")
    assert failing_sites(record, rules_for(record, "W8A8").fitness) == {}


@pytest.mark.parametrize(
    ("sibling", "words"), [(40.0, "meet every bound there"), (15.0, "still miss 1 of 2 bounds there")]
)
def test_where_a_static_scale_fails_a_scale_per_token_is_tried_on_the_same_bounds(sibling: float, words: str) -> None:
    record = measured("FP8", worst={"layers.1.down_in": sums(8.0)})
    readings = {
        name: (
            records.holding(reading, schemes={**known, "FP8_DYNAMIC": sums(sibling)})
            if (known := distributions_of(reading).schemes)
            else reading
        )
        for name, reading in record.sites.items()
    }
    assert f"scales per token (FP8_DYNAMIC) {words}" in fitness(replace(record, sites=readings), "FP8").advice


def test_one_loud_channel_is_what_smoothing_helps_with() -> None:
    even, loud = np.ones(64, np.float32), np.ones(64, np.float32)
    loud[7] = 1000.0
    assert smoothing_gain_db(even) == pytest.approx(0.0)
    assert smoothing_gain_db(loud) == pytest.approx(60.0 - 30.0)
    assert smoothing_gain_db(np.array([0.0, np.nan], np.float32)) == 0.0


def test_sites_are_named_by_kind_and_range() -> None:
    assert in_words(measured(), SITES) == "; ".join(
        f"{kind} of layers 0-3" for kind in ("qkv_in", "o_in", "mlp_in", "down_in")
    )


def test_a_scheme_is_told_apart_from_those_that_fail_beside_it() -> None:
    record = measured(worst={SITES[0]: sums(10.0)})
    limits = rules_for(record, "W8A8", "W4A16").fitness
    assert failing_sites(record, limits) == {"W8A8": (SITES[0],)}
    assert [found.unmeasured for found in fitness_of(record, rules_for(record, "W8A8", "FP16").fitness)] == ["", ""]


# Bounds on effects


def test_a_scheme_that_meets_its_bounds_at_every_site_has_them_on_its_effect() -> None:
    record = measured()
    bounds = bounds_on_effects(record, rules_for(record, "W8A8", "FP16", predicts=True).fitness)
    assert bounds.keys() == {"W8A8", "FP16"}
    for scheme, holds in bounds.items():
        assert [holds(effect(scheme, kl)) for kl in (0.01, 0.1, 0.2, math.nan)] == [True, True, False, False]


def test_a_scheme_that_fails_at_a_site_or_was_not_measured_at_one_has_none_and_keeps_no_other_from_it() -> None:
    record = measured(worst={SITES[0]: sums(10.0)})
    limits = rules_for(record, "W8A8", "NVFP4", "FP16", predicts=True).fitness
    assert bounds_on_effects(record, iter(limits)).keys() == {"FP16"}
