"""What is never waived, what is wrong with a waiver, and what waivers do to a verdict."""

import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.waivers import LONGEST_DAYS, refuse_unmatched, waiver_remarks
from pytest_maxact.judge.verdict.check import check, judge
from pytest_maxact.judge.verdict.waiving import waived, waiver_fault
from pytest_maxact.numbers.scan import TensorScan
from tests.support import records
from tests.support.waivers import DAY, HIDDEN, TODAY, failing, holding, limit, of, refusal, waiver

# What is never waived


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("metric", "sense"), [("max_abs", "max"), ("rms", "max"), ("nonfinite", "max"), ("int8.max_abs.sqnr_db", "min")]
)
def test_a_site_with_an_entry_that_is_not_finite_is_never_waived(bad: float, metric: str, sense: str) -> None:
    finding = check(holding(1.0, bad), limit(0.0, metric=metric, sense=sense))
    assert not finding.passed
    assert not waived(finding, [waiver(site="*")], today=DAY).accepted


@pytest.mark.parametrize("site", ["embedding", HIDDEN, "final_norm"])
def test_a_site_of_zeros_is_never_waived(site: str) -> None:
    """Weights that were not loaded are not a maximum that is a little too large."""
    finding = check(holding(0.0, site=site), limit(9.0, site=site))
    assert not finding.passed
    assert not waived(finding, [waiver(site="*")], today=DAY).accepted


@pytest.mark.parametrize("site", ["layers.0.attn_output", "layers.0.mlp_output"])
def test_a_block_that_does_nothing_fails_and_only_a_waiver_that_says_so_lets_it_pass(site: str) -> None:
    finding = check(holding(0.0, site=site), limit(9.0, site=site))
    assert not finding.passed
    assert finding.message.startswith(f"{site}: every entry is zero, the block does nothing")
    assert waived(finding, [waiver(site=site), waiver(site="*", metric="max_abs", up_to=0.0)], today=DAY).accepted
    for outlier in (waiver(site=site), waiver(site=site, metric="max_abs", up_to=60000.0)):
        kept = waived(finding, [outlier], today=DAY)
        assert not kept.accepted, "it was waived for being large"
        assert kept.message == f"{finding.message}; which is let pass by `up_to: 0` only (limits.yaml:4)"
    for quiet in ("layers.0.gate", "layers.0.router"):
        assert check(holding(0.0, site=quiet), limit(9.0, site=quiet)).passed


def test_a_block_that_does_nothing_is_one_finding_from_above_and_from_below() -> None:
    site = "layers.0.attn_output"
    low = check(holding(0.0, site=site), limit(1.0, site=site, metric="max_abs.min", sense="min"))
    assert waived(low, [waiver(site, "max_abs", up_to=0.0)], today=DAY).accepted
    assert not waived(low, [waiver(site, "max_abs")], today=DAY).accepted
    assert not waived(low, [waiver(site, "max_abs.min", up_to=0.0)], today=DAY).accepted


def test_a_median_of_zero_beside_other_entries_is_a_figure_like_any_other() -> None:
    finding = check(holding(8.0, 0.0, 0.0), limit(1.0, metric="quantile.0.5", sense="min"))
    assert (finding.value, finding.passed) == (0.0, False)
    assert waived(finding, [waiver(metric="quantile.0.5")], today=DAY).accepted


@pytest.mark.parametrize(
    "metric", ["growth", "shrink", "shift", "int8.max_abs.sqnr_db.drop", "jump_shift", "new_massive_layers"]
)
def test_a_comparison_with_a_broken_baseline_is_never_waived(metric: str) -> None:
    site = "model" if metric in ("jump_shift", "new_massive_layers") else HIDDEN
    finding = check(holding(1.0), limit(9.0, site=site, metric=metric, against="v1"), holding(1.0, math.nan))
    assert not finding.passed
    assert not waived(finding, [waiver(site="*")], today=DAY).accepted


def test_a_change_without_measure_can_be_waived() -> None:
    """From nothing to something is infinite growth, and is a figure."""
    site = "layers.0.gate"
    finding = check(
        holding(1.0, site=site), limit(2.0, site=site, metric="growth", against="v1"), holding(0.0, site=site)
    )
    assert (finding.value, finding.passed) == (math.inf, False)
    assert waived(finding, [waiver(site=site)], today=DAY).accepted


# What is wrong with one


def test_one_that_does_its_work_has_no_fault() -> None:
    assert waiver_fault(waiver(), [("", failing())], DAY) is None


def test_one_that_expired_is_a_fault_whether_it_is_needed_or_not() -> None:
    for findings in ([("", failing())], []):
        fault = waiver_fault(waiver(), findings, DAY + timedelta(days=1))
        assert (
            fault
            == "the waiver for layers.0.hidden by ann expired on 2026-03-31 (limits.yaml:4): mend the checkpoint, or"
            " renew it with a reason"
        )


def test_one_that_no_failing_check_needs_is_stale() -> None:
    held = check(holding(0.5), limit())
    for findings in ([("", held)], [], [("", failing(metric="rms"))]):
        fault = waiver_fault(waiver(metric="max_abs"), findings, DAY)
        assert (
            fault
            == "the waiver for layers.0.hidden by ann is stale, none of its checks fails (limits.yaml:4): remove it"
        )
    assert "is stale" in str(waiver_fault(waiver(checkpoint="final"), [("step-1", failing())], DAY))
    assert waiver_fault(waiver(checkpoint="final"), [("step-1", failing()), ("final", failing())], DAY) is None


def test_one_that_speaks_about_no_check_is_refused_with_its_line() -> None:
    checks = [("step-1", limit()), ("final", limit(metric="growth"))]
    refuse_unmatched([waiver(), waiver(metric="growth", checkpoint="final"), waiver(site="layers.*")], checks)
    for stranger in (
        waiver(site="layers.9.hidden"),
        waiver(metric="growth", checkpoint="step-1"),
        waiver(checkpoint="step-2"),
    ):
        with pytest.raises(InputError, match=r"limits\.yaml:4: this waiver \(.*\) matches no check of this run"):
            refuse_unmatched([waiver(), stranger], checks)
    with pytest.raises(InputError, match="`nonfinite` cannot be waived"):
        refuse_unmatched([waiver(metric="nonfinite")], [("", limit(metric="nonfinite"))])


def test_no_checks_match_no_waiver_and_no_waivers_are_fine() -> None:
    refuse_unmatched([], [])
    with pytest.raises(InputError):
        refuse_unmatched([waiver()], [])


# In a verdict


def test_judging_with_waivers_accepts_what_they_cover_and_nothing_more() -> None:
    record = records.record({"embedding": [[4.0]], HIDDEN: [[4.0]], "final_norm": [[4.0, math.nan]]})
    limits = [limit(1.0, "embedding"), limit(1.0), limit(9.0), limit(1.0, "final_norm")]
    tomorrow = TODAY + timedelta(days=2)
    findings = judge(record, limits, None, [waiver(until=tomorrow), waiver(site="final_norm", until=tomorrow)])
    assert [(finding.passed, finding.accepted) for finding in findings] == [
        (False, False),
        (False, True),
        (True, True),
        (False, False),
    ]
    past = judge(record, limits, None, iter([waiver(until=TODAY - timedelta(days=2))]))
    assert [finding.accepted for finding in past] == [False, False, True, False]
    assert [finding.accepted for finding in judge(record, limits)] == [False, False, True, False]


def test_judging_one_of_a_series_uses_its_name() -> None:
    mine = [waiver(checkpoint="final", until=TODAY + timedelta(days=2))]
    assert [finding.accepted for finding in judge(holding(8.0), [limit()], None, mine, "final")] == [True]
    assert [finding.accepted for finding in judge(holding(8.0), [limit()], None, mine, "step-1")] == [False]


def test_the_only_checkpoint_has_no_name_that_a_waiver_could_speak_of() -> None:
    named = waiver(checkpoint="?*", until=TODAY + timedelta(days=2))
    assert [finding.accepted for finding in judge(holding(8.0), [limit()], None, [named])] == [False]
    assert not waived(failing(), [waiver(checkpoint="?*")], today=DAY).accepted


def test_a_tensor_is_let_pass_of_the_checkpoint_that_is_named() -> None:
    broken = TensorScan(file="a", dtype="BF16", shape=(4,), elements=4, nonfinite=1)
    record = replace(holding(8.0), weights=replace(records.SOUND, named={"lm_head.weight": broken}))
    mine = [waiver("weights.lm_head.weight", checkpoint="final", until=TODAY + timedelta(days=2))]
    for name, accepted in (("final", [True, True]), ("step-1", [False, False])):
        findings = judge(record, [limit(0.0, "weights", "nonfinite")], None, mine, name)
        assert [finding.accepted for finding in findings] == accepted


# How long, and how far


def test_a_year_from_today_is_the_longest_unless_the_file_says(tmp_path: Path) -> None:
    entry = "site: layers.3.hidden, reason: known, owner: ann, until: {}"
    day = TODAY + timedelta(days=LONGEST_DAYS)
    (found,) = of(f"waive: [{{{entry.format(day)}}}]\n", tmp_path)
    assert (found.is_long, found.remark) == (False, "")
    later = day + timedelta(days=1)
    text = refusal(f"waive: [{{{entry.format(later)}}}]\n", tmp_path)
    assert f"limits.yaml:3: a waiver until {later}, where 365 days from today, until {day}, is the longest" in text
    assert "limits.yaml:3: a waiver until 9999-12-31" in refusal(f"waive: [{{{entry.format('9999-12-31')}}}]", tmp_path)
    (found,) = of(f"max_waiver_days: 400\nwaive: [{{{entry.format(later)}}}]\n", tmp_path)
    assert found.is_long
    assert found.remark == f"ann waives layers.3.hidden, * until {later}: known"
    assert "where 30 days" in refusal(f"max_waiver_days: 30\nwaive: [{{{entry.format(day)}}}]\n", tmp_path)
    assert "max_waiver_days" in refusal("max_waiver_days: 999999\n", tmp_path)


@pytest.mark.parametrize("site", ["*", "?*", "layers.*", "l*", "[!x]*", "layers.[0-9]*", "layers.*.*"])
def test_a_pattern_of_every_site_says_that_it_is_meant(site: str, tmp_path: Path) -> None:
    entry = f"site: '{site}', metric: max_abs, reason: known, owner: ann, until: {TODAY}"
    assert f"this waiver ({site}, max_abs) speaks about every site" in refusal(f"waive: [{{{entry}}}]\n", tmp_path)
    (found,) = of(f"waive: [{{{entry}, everything: true}}]\n", tmp_path)
    assert found.remark == f"ann waives every site ({site}, max_abs) until {TODAY}: known"


@pytest.mark.parametrize("site", ["layers.*.hidden", "layers.1*", "*output", "layers.[0-3].*", "embedding"])
def test_a_pattern_of_some_sites_needs_no_more(site: str, tmp_path: Path) -> None:
    (found,) = of(f"waive: [{{site: '{site}', reason: known, owner: ann, until: {TODAY}}}]\n", tmp_path)
    assert found.remark == ""


def test_a_pattern_of_all_that_a_run_checks_is_as_wide() -> None:
    checks = [("", limit()), ("", limit(site="layers.1.hidden")), ("", limit(metric="nonfinite"))]
    with pytest.raises(InputError, match="lets pass all 2 checks of this run that can be waived"):
        refuse_unmatched([waiver(site="layers.?.*")], checks)
    refuse_unmatched([waiver(site="layers.?.*")], [*checks, ("", limit(site="embedding"))])


def test_several_that_leave_nothing_between_them_are_told() -> None:
    checks = [("", limit()), ("", limit(site="layers.1.hidden")), ("", limit(metric="nonfinite"))]
    both = [waiver(), waiver(site="layers.1.hidden")]
    assert waiver_remarks(both[:1], checks) == []
    assert waiver_remarks(both, checks) == [
        "waivers speak about all 2 checks that can be waived, so that nothing else is held"
    ]
