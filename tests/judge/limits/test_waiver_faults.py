"""What is never waived, what is wrong with a waiver, and what waivers do to a verdict."""

import math
from datetime import timedelta

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.waivers import refuse_unmatched
from pytest_maxact.judge.verdict.check import check, judge
from pytest_maxact.judge.verdict.waiving import waived, waiver_fault
from tests.support import records
from tests.support.waivers import DAY, HIDDEN, TODAY, failing, holding, limit, waiver

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
