"""What summaries and cards say of the interval of a figure: no more than it is."""

import json
import math
from dataclasses import replace
from pathlib import Path

from pytest_maxact.judge.account import Account
from pytest_maxact.judge.portray import portray
from pytest_maxact.judge.verdict.tally import tally_of
from pytest_maxact.record.file import load
from pytest_maxact.report.card.content import block_of
from pytest_maxact.report.card.figures import stated
from pytest_maxact.report.data.run.text import run_json
from pytest_maxact.report.markdown.facts import facts
from pytest_maxact.report.markdown.summary import summary
from tests.support.accounts import account_of_all
from tests.support.pages import accounted, kept
from tests.support.paths import REPOSITORY
from tests.support.records import seen

BROKEN = REPOSITORY / "tests" / "data" / "records" / "nonfinite.safetensors"


def test_a_maximum_has_no_interval_of_95_percent() -> None:
    account = account_of_all()
    for text in (summary(account, 1 << 20), block_of(account)):
        (row,) = (line for line in text.splitlines() if "30.5 or more on other text" in line)
        assert "too close to call | value | limit | interval | stands in" in text
        assert "inf" not in row
        assert "95 %" not in "".join(line for line in text.splitlines() if line.startswith("|"))


def test_what_is_wrong_and_what_to_do_are_one_line_of_words() -> None:
    account, fault = account_of_all(), "could not measure: out of memory\n  lower the batch\n  or add memory"
    assert account.outcome
    untold = replace(account.outcome, verdict=tally_of([], None, (fault,), 0))
    for one in (Account(verdict="FAIL", faults=(fault,)), replace(account, outcome=untold)):
        for text in (summary(one, 1 << 20), block_of(one)):
            assert "**FAIL: could not measure: out of memory; lower the batch; or add memory**" in text


def test_values_that_are_not_finite_use_no_share_of_a_range() -> None:
    portrait = portray(load(BROKEN))
    assert portrait.broken
    said = dict(facts(portrait))["FP16"]
    assert said.startswith("does not fit: values that are not finite at `")


def test_many_breaches_are_counted_and_crowd_no_fault_out() -> None:
    account = account_of_all()
    assert account.outcome
    assert account.outcome.verdict
    (breach,) = account.outcome.verdict.breaches
    verdict = replace(account.outcome.verdict, breaches=(breach,) * 5000, faults=("first", "the disk is full"))
    page = summary(replace(account, outcome=replace(account.outcome, verdict=verdict)), 1 << 16)
    assert len(page.encode()) <= 1 << 16
    shown = sum(" | 24 | at most 8 | " in line for line in page.splitlines())
    assert shown > 100
    assert f"... and {5000 - shown} more checks that do not hold, for which there is no room here" in page
    assert "\n- the disk is full\n" in page


def test_what_is_finite_at_a_broken_site_is_no_figure_of_int8(tmp_path: Path) -> None:
    account = accounted(kept(seen(math.nan), tmp_path / "broken.safetensors"), family="generic")
    (told,) = json.loads(run_json(account))["checkpoints"]
    assert told["m"]["value"] == "inf"
    assert "| INT-8 | no figure, that site has non-finite entries |" in summary(account, 1 << 20)
    assert [one.type for one in stated(account) if one.type in ("max_activation", "int8_sqnr")] == ["max_activation"]
