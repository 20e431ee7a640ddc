"""What the report makes of fitness: a recommendation, waivers, and what it leaves open."""

import math
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from pytest_maxact.judge.deploy.fitness import fitness_of
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.limit import MODEL, Limit
from pytest_maxact.judge.limits.rules import select_rules, with_fitness
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.waiving import waived
from pytest_maxact.record.deployed import AsDeployed
from pytest_maxact.record.effect import UNDONE
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.scores import LayerScores
from tests.support.fitness import effect, measured, report, rules_for, sums
from tests.support.reports import report_of


def test_the_report_ends_in_a_recommendation() -> None:
    ran = {name: effect(name, 0.01) for name in ("W8A8", "FP16")}
    text = report(measured(worst={"layers.1.down_in": sums(8.0)}, effects=ran), "W8A8", "FP16")
    assert text.splitlines()[-1] == "ships in FP16 (top-1 agreement 99.0%); not in W8A8"
    words = " ".join(text.split())
    assert "- layers.1.down_in: W8A8.sqnr_db 8 falls" in words
    assert "W8A8 does not fit: 1 check fails passes site by site" in words
    assert words.count("W8A8.sqnr_db 8 falls") == 1, "the verdict has told it"
    assert max(map(len, text.splitlines())) <= 80


def test_a_scheme_that_was_not_asked_to_be_checked_is_reported_and_fails_nothing() -> None:
    record, files = measured(worst={"layers.1.down_in": sums(8.0)}), load_limits()
    seen = [reading.site for reading in record.sites.values()]
    rules = with_fitness(
        select_rules(files, identity_of(record.provenance), seen, "generic"),
        files,
        seen,
        checked=(),
        reported=("W8A8",),
        predicts=True,
    )
    findings = [check(record, limit) for limit in rules.limits]
    text = report_of(record, rules, findings)
    assert text.startswith("PASS")
    assert "ships in none of these formats as it is (reported; `deploy` makes" in text


WAIVER = Waiver(
    site="layers.1.down_in", metric="W8A8.sqnr_db", checkpoint="*", reason="known", owner="ann",
    until=date(9999, 1, 1), file="mine.yaml", line=4,
)  # fmt: skip


def test_what_the_run_let_pass_is_shown_as_waived_and_not_judged_anew() -> None:
    ran = {name: effect(name, 0.01) for name in ("W8A8", "FP16")}
    record = measured(worst={"layers.1.down_in": sums(8.0)}, effects=ran)
    rules = rules_for(record, "W8A8", "FP16")
    findings = [waived(check(record, limit), [WAIVER]) for limit in rules.limits]
    found, other = fitness_of(record, rules.fitness, findings)
    assert (found.breaches, [finding.waiver for finding in found.waived]) == ([], [WAIVER])
    assert (found.holds, found.passed, other.passed) == (False, False, True), "what is let pass does not fit by that"
    text = report_of(record, rules, findings)
    assert text.splitlines()[-1] == "ships in FP16 (top-1 agreement 99.0%); in W8A8 by waiver only"
    words = " ".join(text.split())
    assert "W8A8 fits by waiver only: 1 check is waived" in words
    assert "waived until 9999-01-01 by ann: known" in words
    assert "does not fit" not in words


def test_a_waiver_stands_for_nothing_that_was_not_measured() -> None:
    record = measured(worst={"layers.1.down_in": sums(8.0)}, predicts=True)
    limits = rules_for(record, "W8A8", predicts=True).fitness
    findings = [waived(check(record, limit), [WAIVER]) for limit in limits if limit.site != MODEL]
    (found,) = fitness_of(record, limits, findings)
    assert found.waived
    assert not found.holds_by_waiver
    (found,) = fitness_of(record, [finding.limit for finding in findings], findings)
    assert (found.holds_by_waiver, found.passed) == (True, False)


def test_a_breach_beside_what_is_waived_stays_one() -> None:
    record = measured(worst={"layers.1.down_in": sums(8.0), "layers.2.down_in": sums(7.0)})
    rules = rules_for(record, "W8A8")
    findings = [waived(check(record, limit), [WAIVER]) for limit in rules.limits]
    (found,) = fitness_of(record, rules.fitness, findings)
    assert [finding.site for finding in found.breaches] == ["layers.2.down_in"]
    assert report_of(record, rules, findings).splitlines()[-1] == "ships in none of these formats as it is"


def test_what_the_run_did_not_judge_is_judged() -> None:
    record = measured(worst={"layers.1.down_in": sums(8.0)})
    limits = rules_for(record, "W8A8").fitness
    (alone,) = fitness_of(record, limits)
    (found,) = fitness_of(record, limits, [finding for finding in alone.findings if finding.passed])
    assert [finding.site for finding in found.breaches] == ["layers.1.down_in"]
    assert found.findings == alone.findings


def test_every_limit_has_its_place() -> None:
    for limit in rules_for(measured(), "W8A8", "FP16", predicts=True).fitness:
        assert isinstance(limit, Limit)
        assert Path(limit.file).name == "thresholds.yaml"
        assert limit.line > 1


def last(text: str) -> str:
    return " ".join(text.split()).rpartition("become 0.")[2].partition("FP16 does not fit")[0]


def test_a_format_that_was_not_run_is_said_to_exceed_nothing_that_was_observed() -> None:
    (found,) = fitness_of(measured(), rules_for(measured(), "FP16").fitness)
    assert (found.holds, found.passed) == (True, False)
    assert report(measured(predicts=True), "FP16").splitlines()[-1] == (
        "no observed site exceeds FP16, in which it was not run (`effect`=FP16)"
    )
    assert report(measured(), "FP16").splitlines()[-1] == "no observed site exceeds FP16, in which it was not run"


def test_what_predicts_nothing_fits_site_by_site_at_best() -> None:
    assert last(report(measured(), "W8A8")).endswith(
        "fits W8A8 site by site, predictions not compared: it predicts no next token"
    )


def test_float16_ships_with_the_word_that_scores_are_unchecked_where_no_attention_was_seen() -> None:
    record = measured(effects={"FP16": effect("FP16", 0.01)}, scores=(), predicts=True)
    rules = rules_for(record, "FP16", predicts=True)
    finding = next(check(record, limit) for limit in rules.fitness if limit.metric.name == "FP16.score_headroom")
    assert finding.passed
    assert finding.message.startswith("attention scores unchecked: no attention was seen")
    text = report(record, "FP16", predicts=True)
    assert text.splitlines()[-1] == "ships in FP16 (top-1 agreement 99.0%; attention scores unchecked)"
    assert "attention scores unchecked" in " ".join(text.split())


def test_a_record_in_which_scores_were_not_looked_for_is_not_judged_on_them() -> None:
    record = measured(effects={"FP16": effect("FP16", 0.01)}, scores=None, predicts=True)
    (found,) = fitness_of(record, rules_for(record, "FP16", predicts=True).fitness)
    assert not found.passed
    assert found.unmeasured == "the Record holds nothing of attention scores, on which FP16.score_headroom sets a limit"


@pytest.mark.parametrize(("largest", "exact"), [(65505.0, True), (1e6, False), (math.inf, True)])
def test_scores_beyond_float16_keep_it_from_shipping(largest: float, exact: bool) -> None:
    scores = (LayerScores(layer=1, largest=3.0, exact=False), LayerScores(layer=2, largest=largest, exact=exact))
    record = measured(effects={"FP16": effect("FP16", 0.01)}, scores=scores, predicts=True)
    (found,) = fitness_of(record, rules_for(record, "FP16", predicts=True).fitness)
    (breach,) = found.breaches
    assert breach.limit.check == "model::FP16.score_headroom"
    assert ("cannot be told to stay within the range" in breach.message) == (not exact)
    assert "in layer 2 before they are scaled" in breach.message
    words = " ".join(report(record, "FP16", predicts=True).split())
    assert f"does not fit: attention scores of layer 2 {'reach' if exact else 'may reach'}" in words
    assert words.endswith("ships in none of these formats as it is")


def test_a_verdict_says_what_text_it_holds_for() -> None:
    record = measured(effects={"W8A8": effect("W8A8", 0.01)}, predicts=True)
    for deployed, said in (
        (None, "for text without BOS and chat template (the Record tells nothing of them)"),
        (AsDeployed(added=("special tokens",)), "for text without special tokens"),
        (AsDeployed(missing="the chat template (it fails)"), "for text without the chat template (it fails)"),
        (AsDeployed(added=("special tokens",), samples=8, tokens=90), ""),
    ):
        told = replace(record, provenance=replace(record.provenance, deployed=deployed))
        text = " ".join(report(told, "W8A8", predicts=True).split())
        assert text.endswith(f"ships in W8A8 (top-1 agreement 99.0%){said and f', {said}'}")
        assert ("of 8 samples with special tokens too (90 tokens)" in text) == (not said)


def test_the_layer_that_mends_predictions_is_named_and_none_where_none_does() -> None:
    for kl, said in (
        (0.01, "one linear layer breaks predictions: with layers.1.mlp.up_proj alone in 16 bits mean KL is 0.01"),
        (0.2, "no single linear layer that was tried mends predictions: with layers.1.mlp.up_proj alone in 16 bits"),
    ):
        undone = replace(effect("W8A8", kl), kept=("layers.1.mlp.up_proj",))
        record = measured(effects={"W8A8": effect("W8A8", 0.3), "W8A8" + UNDONE: undone}, predicts=True)
        (found,) = fitness_of(record, rules_for(record, "W8A8", predicts=True).fitness)
        assert said in found.advice[0]


def test_float16_whose_own_run_is_not_finite_does_not_fit() -> None:
    record = measured(effects={"FP16": effect("FP16", math.nan)}, predicts=True)
    words = " ".join(report(record, "FP16", predicts=True).split())
    assert "FP16 does not fit: run in float16, its predictions are not finite; no observed site exceeds" in words
    assert words.endswith("ships in none of these formats as it is")
