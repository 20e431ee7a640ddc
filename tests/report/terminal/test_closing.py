"""What a report ends with: pass or fail, what does not hold and why, in at most eight lines with its rule."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pytest_maxact.judge.outcome import Checkpoint, Outcome
from pytest_maxact.judge.portray import portray
from pytest_maxact.judge.verdict.check import check_bound
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.tally import Told, tally_of
from pytest_maxact.report.terminal.closing import LINES, render_closing, says_all
from pytest_maxact.report.terminal.screen import Screen
from tests.support import records
from tests.support.waivers import waiver

RECORD = records.record({f"layers.{layer}.hidden": [3.0 + layer] for layer in range(50)})
PORTRAIT = portray(RECORD)
CAUSE = "could not measure: the weights of /models/qwen lack 1 tensor\n  export the checkpoint again"


def found(breaches: int, held: int = 1) -> list[Finding]:
    sites = list(RECORD.sites)
    return [
        check_bound(RECORD, sites[number], "max_abs", 1.0 if number < breaches else 100.0, "max")
        for number in range(breaches + held)
    ]


def outcome(findings: Sequence[Finding] = (), faults: Sequence[str] = (), **how: Any) -> Outcome:
    told = [Told(checkpoint="", finding=finding) for finding in findings]
    return Outcome(
        checkpoints=(Checkpoint(portrait=PORTRAIT if findings else None, findings=tuple(findings)),),
        ran=len(findings) or 1,
        verdict=tally_of(told, faults=faults, **how) if findings else None,
        faults=tuple(faults),
    )


def closing(one: Outcome, width: int = 80) -> list[str]:
    return render_closing(one, Screen(width=width)).splitlines()


def test_a_pass_is_a_line_and_tells_of_warnings_above() -> None:
    assert closing(outcome(found(0, 3))) == ["PASS: all 3 checks hold"]
    assert closing(outcome(found(0, 3), warnings=("too little text",))) == [
        "PASS: all 3 checks hold",
        "a warning stands at the head of the report",
    ]


def test_a_breach_says_place_value_and_limit() -> None:
    assert closing(outcome(found(1))) == [
        "FAIL: 1 of 2 checks does not hold",
        "- layers.0.hidden max_abs: 3 exceeds 1",
    ]


def test_of_many_breaches_the_worst_are_told_and_the_others_counted() -> None:
    told = closing(outcome(found(49), warnings=("one", "two")))
    assert told[:2] == ["FAIL: 49 of 50 checks do not hold", "2 warnings stand at the head of the report"]
    assert told[2:] == [
        *(f"- layers.{layer}.hidden max_abs: {3 + layer} exceeds 1" for layer in range(48, 44, -1)),
        "- and 45 more, told above",
    ]
    exactly = closing(outcome(found(6)))
    assert len(exactly) == LINES
    assert exactly[-1] == "- layers.0.hidden max_abs: 3 exceeds 1"


def test_a_cause_is_told_in_full_where_nothing_was_measured() -> None:
    one = outcome(faults=[CAUSE])
    assert says_all(one, Screen())
    assert closing(one) == [
        "FAIL: could not measure: the weights of /models/qwen lack 1 tensor",
        "  export the checkpoint again",
    ]


def test_a_cause_too_long_for_it_is_cut_at_a_word_and_stands_in_full_above() -> None:
    cause = "could not measure: " + " ".join(f"word{number}" for number in range(200))
    one = outcome(faults=[cause])
    told = closing(one)
    assert not says_all(one, Screen())
    assert len(told) == LINES
    assert told[-1].endswith(" ...")
    assert cause.startswith(" ".join(told).removeprefix("FAIL: ").removesuffix(" ..."))


def test_several_causes_are_counted_where_they_do_not_fit() -> None:
    one = outcome(faults=[f"could not measure step-{number}: no" for number in range(20)])
    assert not says_all(one, Screen())
    assert closing(one) == [
        "FAIL: could not measure step-0: no",
        *(f"- could not measure step-{number}: no" for number in range(1, 6)),
        "- and 14 more, told above",
    ]


def test_what_went_wrong_besides_is_told_with_what_the_checks_found() -> None:
    assert closing(outcome(found(0, 3), ["the Record was not written: No space left on device"])) == [
        "FAIL: the Record was not written: No space left on device",
        "3 of 3 checks that were judged hold",
    ]
    breach, *others = found(1, 2)
    let_pass = replace(breach, waiver=waiver(site=breach.limit.site))
    assert closing(outcome([let_pass, *others], ["a waiver expired"])) == [
        "FAIL: a waiver expired",
        "2 of 3 checks that were judged hold, 1 is waived",
    ]
    assert closing(outcome(found(1), ["a waiver expired"])) == [
        "FAIL: 1 of 2 checks does not hold",
        "- a waiver expired",
        "- layers.0.hidden max_abs: 3 exceeds 1",
    ]


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("breaches", [0, 1, 7, 49])
@pytest.mark.parametrize("faults", [(), (CAUSE,), (CAUSE, "word " * 300), ("word " * 300, CAUSE), ("x" * 900,)])
def test_it_never_takes_more_lines(width: int, breaches: int, faults: tuple[str, ...]) -> None:
    warned = outcome(found(breaches), faults, warnings=("one", "two"), unknown=3)
    for one in (warned, outcome(found(breaches), faults), outcome(faults=faults)):
        told = closing(one, width)
        assert len(told) <= LINES
        assert all(len(line) <= width for line in told)
        assert not told or told[0].startswith("FAIL" if breaches or faults else "PARTIAL" if one is warned else "PASS")
