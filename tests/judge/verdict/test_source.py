"""What was compared with a source, judged: a check of all weights and of predictions by each figure, one of every
tensor that breaks it, and nothing passes that was not compared.
"""

import math
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.file import parse_limits
from pytest_maxact.judge.limits.source import source_limits
from pytest_maxact.judge.verdict.check import check_bound
from pytest_maxact.judge.verdict.source import check_source_weights
from pytest_maxact.judge.verdict.verdict import verdict
from pytest_maxact.numbers.against import LISTED, KeptWeight
from pytest_maxact.record.file import load, save
from pytest_maxact.record.source import QUANTITIES
from tests.support import records
from tests.support.against import CLEAN, SOUND, Q, departure, failing, holding, judged

OTHER = "model.layers.2.mlp.up_proj.weight"
WEIGHED = ["changed", "group_loss_db", "loss_db", "outlying_db", "rescaled", "unmatched"]
PREDICTED = ["source_mean_kl", "source_perplexity_ratio", "source_top1_agreement"]


def test_an_artifact_of_its_source_passes_a_check_of_every_figure() -> None:
    found = judged(holding(predictions=departure()))
    assert sorted(found) == [
        *(f"predictions::{name}" for name in PREDICTED),
        *(
            f"weights::source_{name}"
            for name in ("changed", "group_loss_db", "loss_db", "outlying_db", "rescaled", "unmatched")
        ),
    ]
    assert all(finding.passed for finding in found.values())


@pytest.mark.parametrize(
    ("change", "metric"),
    [
        ({"sqnr_db": 18.0}, "source_outlying_db"),
        ({"rescaled": 0.05}, "source_rescaled"),
        ({"rescaled": math.nan}, "source_rescaled"),
        ({"group_loss_db": 19.0}, "source_group_loss_db"),
        ({"group_loss_db": math.nan}, "source_group_loss_db"),
    ],
)
def test_a_weight_beyond_a_limit_fails_by_its_own_name_too(change: dict[str, float], metric: str) -> None:
    weights = replace(CLEAN, low=2, lows={Q: SOUND, OTHER: replace(SOUND, layer=2, **change)})
    assert failing(holding(weights)) == [f"weights.{OTHER}::{metric}", f"weights::{metric}"]
    assert "(layer 2)" in judged(holding(weights))[f"weights.{OTHER}::{metric}"].message
    assert OTHER in judged(holding(weights))[f"weights::{metric}"].message


@pytest.mark.parametrize("sqnr", [9.0, -math.inf, math.nan])
def test_a_weight_that_was_not_made_of_its_source_fails_as_a_whole_and_beside_the_others(sqnr: float) -> None:
    weights = replace(CLEAN, low=2, lows={Q: SOUND, OTHER: replace(SOUND, sqnr_db=sqnr)})
    assert failing(holding(weights)) == [
        f"weights.{OTHER}::source_loss_db", f"weights.{OTHER}::source_outlying_db", "weights::source_loss_db",
        "weights::source_outlying_db",
    ]  # fmt: skip


def test_what_all_weights_lose_alike_is_a_quantizer_that_was_calibrated() -> None:
    low = replace(SOUND, sqnr_db=16.0)
    weights = replace(CLEAN, low=2, lows={Q: low, OTHER: replace(low, sqnr_db=14.5)}, usual_loss_db=3.5)
    assert not failing(holding(weights))


def test_tensors_that_differ_or_lack_are_counted_and_named() -> None:
    changed = {OTHER: KeptWeight(entries=8, differing=3, sqnr_db=4.0, layer=2)}
    weights = replace(CLEAN, changed=changed, missing=("a",), extra=("b",))
    assert failing(holding(weights)) == [
        "weights.a::source_unmatched", "weights.b::source_unmatched", f"weights.{OTHER}::source_changed",
        "weights::source_changed", "weights::source_unmatched",
    ]  # fmt: skip
    assert judged(holding(weights))["weights::source_unmatched"].value == 2


def test_a_waiver_lets_one_tensor_pass_and_no_other() -> None:
    low = replace(SOUND, group_loss_db=20.0)
    weights = replace(CLEAN, low=2, lows={Q: low, OTHER: low})
    until = date.today() + timedelta(days=7)
    told = f'site: "weights.{OTHER}", metric: source_group_loss_db, reason: known, owner: me, until: {until}'
    waiver = f"waive:\n  - {{{told}}}\n"
    assert failing(holding(weights), waiver) == [f"weights.{Q}::source_group_loss_db", "weights::source_group_loss_db"]
    assert not failing(holding(replace(weights, lows={Q: SOUND, OTHER: low})), waiver)


def test_waivers_of_all_weights_kept_by_name_hide_none_of_the_others() -> None:
    lows = {
        f"model.layers.0.mlp.experts.{number}.up_proj.weight": replace(SOUND, sqnr_db=1.0) for number in range(LISTED)
    }
    whole, cut = (holding(replace(CLEAN, low=LISTED + more, lows=lows)) for more in (0, 1))
    limit = judged(whole)["weights::source_loss_db"].limit
    waived = {(name, limit.metric.name) for name in lows}
    assert check_source_weights(whole, limit, waived).passed
    found = check_source_weights(cut, limit, waived)
    assert not found.passed
    assert "1 weight more, not kept by name, may break it too" in found.message
    assert "(artifact: max_loss_db), not by waivers" in found.message
    assert not check_source_weights(cut, replace(limit, site=f"weights.{Q}")).passed
    assert check_source_weights(cut, replace(limit, bound=20.0)).passed


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_of_predictions_that_is_none_passes_nothing(name: str, value: float) -> None:
    record, sense = holding(predictions=departure(**{name: value})), "min" if "agreement" in name else "max"
    if sense == "max" or math.isnan(value):
        assert not check_bound(record, "predictions", f"source_{name}", 1e9 if sense == "max" else 0.0, sense).passed


def test_predictions_that_are_not_finite_fail_whatever_else_is_told() -> None:
    found = judged(holding(predictions=departure(nonfinite=1)))
    assert sorted(name for name, one in found.items() if not one.passed) == [
        f"predictions::{name}" for name in PREDICTED
    ]
    assert "NaN or infinite at 1 of 48 tokens" in found["predictions::source_mean_kl"].message


def test_words_give_the_interval_and_say_where_the_limit_lies_in_it() -> None:
    said = judged(holding(predictions=departure(mean_kl=0.098)))["predictions::source_mean_kl"].message
    assert "0.098 (95 % 0.0882 to 0.1078)" in said
    assert "and lies within the interval" in said
    clear = judged(holding(predictions=departure(mean_kl=0.2)))["predictions::source_mean_kl"].message
    assert "exceeds the limit 0.1" in clear
    assert "within the interval" not in clear


def test_a_pattern_of_forms_comes_before_what_holds_for_all() -> None:
    text = "artifact:\n  max_loss_db: 1\n  forms:\n    'gptq *': {max_loss_db: 2}\n    'gptq int4': {max_loss_db: 4}\n"
    files = parse_limits(f"version: 1\nextends: builtin\n{text}", Path("limits.yaml"))
    bounds = {
        form: next(one.bound for one in source_limits(files, form, predicted=False) if "loss_db" in one.metric.name)
        for form in ("gptq int4", "gptq int8", "awq int4", "")
    }
    assert bounds == {"gptq int4": 4, "gptq int8": 2, "awq int4": 1, "": 1}


def test_a_file_that_says_nothing_of_artifacts_compares_none() -> None:
    own = "version: 1\nfamilies: {mine: {model_types: [mine], limits: {hidden: 1}}}\n"
    files = parse_limits(own, Path("limits.yaml"))
    with pytest.raises(InputError, match="sets no limit on weights of an artifact"):
        source_limits(files, "gptq int4", predicted=False)


def test_without_a_comparison_there_is_no_check_and_a_bound_of_a_test_is_an_error() -> None:
    assert not judged(records.seen())
    for site, name in (("weights", "source_loss_db"), ("predictions", "source_mean_kl")):
        with pytest.raises(MeasureError, match="compares nothing with a source"):
            check_bound(records.seen(), site, name, 1e9, "max")
    with pytest.raises(MeasureError, match="no head"):
        check_bound(holding(), "predictions", "source_mean_kl", 1e9, "max")


def test_a_record_keeps_it_and_an_edited_one_is_refused(tmp_path: Path) -> None:
    record = holding(predictions=departure(tokens=1))
    save(record, tmp_path / "r.safetensors")
    kept = load(tmp_path / "r.safetensors")
    assert kept.source == record.source
    assert verdict(kept, family="generic") == verdict(record, family="generic")
    for broken in (
        holding(replace(CLEAN, low=2)),
        holding(replace(CLEAN, low=0, kept=0, lows={})),
        holding(form=""),
        holding(predictions=replace(departure(tokens=1), figures={})),
        holding(predictions=replace(departure(tokens=1), tokens=10**6)),
        holding(predictions=replace(departure(tokens=1), confidence=())),
    ):
        save(broken, tmp_path / "broken.safetensors")
        with pytest.raises(InputError, match=r"source\."):
            load(tmp_path / "broken.safetensors")
