"""The headline and the bullets count as a runner of tests counts, and agree with their numbers."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.rules import select_rules
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.verdict.check import check, judge
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.tally import Told, tally_of
from pytest_maxact.numbers.peaks import Around
from pytest_maxact.record.identity import identity_of
from pytest_maxact.report.terminal.screen import Screen, to_text
from pytest_maxact.report.terminal.verdict import verdict_lines
from tests.support.findings import HIDDEN, holding, limit
from tests.support.records import record
from tests.support.reports import report_of

WAIVER = Waiver(
    site="*", metric="*", checkpoint="*", reason="known", owner="ann", until=date(2099, 1, 1), file="mine.yaml", line=4
)
HOLDS, BREAKS = check(holding(4.0), limit(8.0)), check(holding(4.0), limit(2.0, HIDDEN, "rms"))
WAIVED = replace(check(holding(4.0), limit(1.0)), waiver=WAIVER)
EXPIRED = "the waiver for x by ann expired on 2026-01-01 (mine.yaml:4): mend the checkpoint, or renew it with a reason"


def lines(findings: Sequence[Finding], faults: Sequence[str] = (), waivers: int = 0, failing: int = 0) -> list[str]:
    told = [Told(checkpoint="", finding=finding) for finding in findings]
    tally = tally_of(told, faults=faults, waivers=waivers, failing_waivers=failing)
    return [text.plain for text in verdict_lines(tally)]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_breach_shows_its_token_in_its_text_on_one_line(width: int) -> None:
    around = Around(before="the quick brown fox jumps over the", after=" fence\nand ran")
    reading = holding(4.0)[HIDDEN]
    told = replace(reading, peaks=tuple(replace(peak, token=" lazy", around=around) for peak in reading.peaks))
    breach = replace(check(holding(4.0), limit(1.0, HIDDEN)), reading=told)
    tally = tally_of([Told(checkpoint="", finding=breach)])
    (quoted,) = [line for line in to_text(verdict_lines(tally), Screen(width=width)).split("\n") if "lazy]" in line]
    assert quoted == r"  in: ...n fox jumps over the[ lazy] fence\nand ran..."
    other = replace(breach, limit=limit(2.0, HIDDEN, "rms"))
    assert not [text for text in verdict_lines(tally_of([Told(checkpoint="", finding=other)])) if "lazy]" in text.plain]


@pytest.mark.parametrize(
    ("findings", "faults", "waivers", "failing", "headline"),
    [
        ([HOLDS], [], 0, 0, "PASS: the one check holds"),
        ([HOLDS, HOLDS], [], 0, 0, "PASS: all 2 checks hold"),
        ([HOLDS, WAIVED], [], 1, 0, "PASS: 1 of 2 checks holds, 1 is waived, 1 waiver holds"),
        ([HOLDS, HOLDS, WAIVED, WAIVED], [], 2, 0, "PASS: 2 of 4 checks hold, 2 are waived, 2 waivers hold"),
        ([BREAKS], [], 0, 0, "FAIL: the one check does not hold"),
        ([HOLDS, BREAKS, BREAKS], [], 0, 0, "FAIL: 2 of 3 checks do not hold"),
        ([HOLDS, BREAKS], [EXPIRED], 1, 1, "FAIL: 1 of 2 checks does not hold, the one waiver fails"),
        ([BREAKS, WAIVED], [EXPIRED], 2, 1, "FAIL: 1 of 2 checks does not hold, 1 is waived, 1 of 2 waivers fails"),
        ([HOLDS], [EXPIRED], 1, 1, "FAIL: the one waiver fails"),
        ([HOLDS], ["could not measure: no"], 0, 0, "FAIL: could not measure: no"),
    ],
)
def test_the_headline_counts_checks_and_waivers(
    findings: Sequence[Finding], faults: Sequence[str], waivers: int, failing: int, headline: str
) -> None:
    assert lines(findings, faults, waivers, failing)[0] == headline


def test_there_are_as_many_bullets_as_the_headline_counts() -> None:
    found = lines([HOLDS, BREAKS, BREAKS], [EXPIRED], 1, 1)
    assert found[0] == "FAIL: 2 of 3 checks do not hold, the one waiver fails"
    assert len([line for line in found if line.startswith("- ")]) == 3
    alone = lines([HOLDS], [EXPIRED, "the waiver for y is stale"], 2, 2)
    assert [line for line in alone if line.startswith("- ")] == [f"- {EXPIRED}", "- the waiver for y is stale"]


def test_breaches_of_one_scheme_are_told_once_with_the_worst() -> None:
    def breach(site: str, value: float) -> Finding:
        of = limit(20.0, site, "W8A8.sqnr_db", "min")
        return Finding(limit=of, value=value, passed=False, reading=None, message=f"{site} has {value:g} dB")

    found = [breach("layers.0.o_in", 19.0), breach("layers.1.o_in", 3.0), breach("layers.2.o_in", 12.0)]
    told = [line for line in lines([BREAKS, *found]) if line.startswith("- ")]
    assert told == ["- W8A8: 3 checks, the worst layers.1.o_in has 3 dB", f"- {BREAKS.message}"]
    assert lines([found[0]])[1] == "- layers.0.o_in has 19 dB", "one is told as it is"


def test_a_report_of_single_things_has_no_plural_after_one(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("version: 1\nextends: builtin\nfamilies: {qwen3: {limits: {hidden: 1}}}\n")
    one = record({"embedding": [[1.0]], HIDDEN: [[float("inf")]], "final_norm": [[1.0]]}, layers=1, hidden_size=1)
    rules = select_rules(
        load_limits(own), identity_of(one.provenance), [reading.site for reading in one.sites.values()]
    )
    text = " ".join(report_of(one, rules, judge(one, rules.limits)).split())
    assert "1 layer x 1" in text
    several = r"checks|samples|tokens|layers|sites|entries|tensors|limits|experts|sequences|waivers"
    assert re.findall(rf"(?<![\d ./])(?<!\d )1 (?:[a-z-]+ )?(?:{several})\b", text) == []
