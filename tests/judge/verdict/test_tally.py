"""What holds of a run, what does not and what is not known: counted once, and never in favour of the checkpoint."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.severity import worst_of
from pytest_maxact.judge.verdict.tally import Told, tally_of
from pytest_maxact.numbers.scan import TensorScan
from tests.support import records
from tests.support.stages import GROWING, HIDDEN, MLP, limit, stage


def told(findings: Sequence[Finding], checkpoint: str = "") -> list[Told]:
    return [Told(checkpoint=checkpoint, finding=finding) for finding in findings]


def found(bound: float, maximum: float = 4.0, site: str = HIDDEN) -> Finding:
    return check(stage(maximum).record, limit(bound, site))


WAIVER = Waiver(
    site=HIDDEN,
    metric="*",
    checkpoint="*",
    reason="known",
    owner="ann",
    until=date(2099, 1, 1),
    file="limits.yaml",
    line=4,
)


def test_everything_that_holds_passes() -> None:
    tally = tally_of(told([found(8.0), found(4.0)]))
    assert (tally.ran, tally.left, tally.passed) == (2, 0, True)


def test_nothing_checked_has_not_passed() -> None:
    assert not tally_of([]).passed
    assert not tally_of(told([found(8.0)]), ran=frozenset()).passed


def test_it_is_a_whole_pass_only_where_all_was_run() -> None:
    holding, breaking = told([found(8.0)]), told([found(2.0)])
    ran = {("", found(8.0).limit.check)}
    assert tally_of(holding).word == "PASS"
    assert tally_of(holding, unknown=1).word == "PARTIAL"
    assert tally_of(holding, waivers_left=1).word == "PARTIAL"
    assert tally_of([*holding, *told([found(8.0, site=MLP)])], ran).word == "PARTIAL"
    assert tally_of(breaking, unknown=1).word == "FAIL"
    assert tally_of(holding, faults=["a fault"], unknown=1).word == "FAIL"
    assert tally_of(holding, ran=frozenset()).word == "NONE"


def test_a_breach_a_fault_and_both_fail() -> None:
    breach = tally_of(told([found(8.0), found(2.0)]))
    assert [one.finding.limit.bound for one in breach.breaches] == [2.0]
    assert not breach.passed
    assert not tally_of(told([found(8.0)]), faults=["the waiver for x is stale"]).passed
    assert not tally_of(told([found(2.0)]), faults=["the waiver for x is stale"]).passed


def test_what_is_waived_is_told_and_stands_in_nobodys_way() -> None:
    tally = tally_of(told([replace(found(2.0), waiver=WAIVER), found(8.0)]))
    assert (len(tally.waived), tally.breaches, tally.passed) == (1, (), True)


def test_checks_that_did_not_run_are_counted_and_so_is_what_of_them_would_fail() -> None:
    findings = [found(8.0), found(2.0), found(1.0, site=MLP)]
    ran = {("", findings[0].limit.check)}
    tally = tally_of(told([findings[0], findings[2]]), ran, unknown=3)
    assert (tally.ran, tally.left, tally.unknown, tally.failing) == (1, 4, 3, 1)
    assert not tally.breaches


def test_a_check_of_another_checkpoint_has_not_run_by_its_name() -> None:
    tally = tally_of([*told([found(8.0)], "a"), *told([found(2.0)], "b")], {("a", found(8.0).limit.check)})
    assert (tally.ran, tally.left, tally.failing) == (1, 1, 1)


def test_of_each_checkpoint_the_first_broken_site_is_named() -> None:
    nonfinite = [limit(0.0, site, "nonfinite") for site in (HIDDEN, "final_norm")]
    broken = [check(stage(math.nan).record, each) for each in nonfinite]
    sound = [check(GROWING[0].record, each) for each in nonfinite]
    tally = tally_of([*told(broken, "late"), *told(sound, "early")])
    assert tally.broken == (("late", HIDDEN),)
    assert not tally.passed


def test_a_site_is_named_broken_by_the_check_that_looks_for_it_alone() -> None:
    assert tally_of(told([check(stage(math.nan).record, limit(9.0))])).broken == ()


def test_weights_that_are_not_finite_are_a_breach_and_no_site() -> None:
    scan = TensorScan(file="a", dtype="BF16", shape=(4,), elements=4, nonfinite=1)
    record = replace(stage(1.0).record, weights=replace(records.SOUND, named={"norm.weight": scan}))
    tally = tally_of(told([check(record, limit(0.0, "weights", "nonfinite"))]))
    assert (len(tally.breaches), tally.broken) == (1, ())


def test_what_stands_behind_pass_and_what_comes_before_it_are_handed_on() -> None:
    plain = tally_of(told([found(8.0)]))
    assert (plain.rests, plain.warnings, plain.faults) == ("", (), ())
    said = tally_of(told([found(8.0)]), faults=["a fault"], rests="on 9 tokens", warnings=["too little", "text"])
    assert (said.rests, said.warnings, said.faults) == ("on 9 tokens", ("too little", "text"), ("a fault",))


def test_the_worst_comes_first_of_every_kind_and_what_is_close_last() -> None:
    """Of breaches: entries that are not finite, what they leave untold, factors beyond a limit, then what is close."""
    broken = replace(found(0.0), limit=limit(0.0, metric="nonfinite"), value=3.0)
    untold = replace(found(2.0), value=math.nan, passed=False)
    decibels = replace(found(2.0), limit=replace(limit(30.0, metric="int8.max_abs.sqnr_db"), sense="min"), value=10.0)
    near, little, much = replace(found(1.0), close=True), found(3.9), found(0.5)
    order = [broken, replace(broken, value=9.0), untold, decibels, much, little, near]
    assert all(not one.passed for one in order)
    for given in (order, [near, little, *order[:5]]):
        assert [one.finding for one in tally_of(told(given)).breaches] == order
    assert [one.finding for one in tally_of([*told([little], "a"), *told([much], "b")]).breaches] == [much, little]
    waived = [replace(one, waiver=WAIVER) for one in (little, much)]
    assert [one.finding for one in tally_of(told(waived)).waived] == waived[::-1]
    close = [replace(found(bound), close=True) for bound in (4.4, 4.1)]
    assert [one.finding for one in tally_of(told(close)).close] == close[::-1]
    assert worst_of([little, near, much]) == much


def test_what_holds_and_is_close_counts_as_held() -> None:
    close = replace(found(4.1), close=True)
    tally = tally_of(told([found(8.0), close, found(2.0), replace(found(2.0), waiver=WAIVER)]))
    assert (tally.ran, tally.holding, len(tally.close)) == (4, 2, 1)
