"""GitLab's code quality report: what the widget of a merge request takes, and no more."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.errors import shown
from pytest_maxact.judge.account import Account
from pytest_maxact.judge.statement.schema import CheckOutcome
from pytest_maxact.report.codequality.issues import is_issues, issues_json
from tests.support.accounts import account_of_all
from tests.support.hostile import NAMES


def issues_of(account: Account) -> Any:
    text = issues_json(account)
    assert text.isascii()
    found = json.loads(text)
    for one in found:
        assert one.keys() == {"description", "check_name", "fingerprint", "severity", "location"}
        assert one["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert one["location"].keys() == {"path", "lines"}
        assert one["location"]["lines"]["begin"] >= 1
        assert not one["location"]["path"].startswith("./")
    assert len({one["fingerprint"] for one in found}) == len(found)
    return found


def test_what_stands_in_the_way_is_worse_than_what_is_waived_or_close() -> None:
    found = issues_of(account_of_all())
    assert [(one["check_name"], one["severity"]) for one in found] == [
        ("pytest-maxact/run", "blocker"),
        ("pytest-maxact/waiver", "critical"),
        ("pytest-maxact/max_abs", "critical"),
        ("pytest-maxact/int8.max_abs.sqnr_db", "minor"),
        ("pytest-maxact/max_abs", "info"),
    ]
    assert found[2]["location"] == {"path": "plain/limits.yaml", "lines": {"begin": 7}}
    assert found[4]["description"].startswith("waived until")


@pytest.mark.parametrize("became", ["deselected", "not run"])
def test_what_was_left_out_and_would_fail_is_told(became: CheckOutcome) -> None:
    account = account_of_all()
    (one,) = account.checkpoints
    breach = next(told for told in one.checks if told.became == "does not hold")
    partial = replace(
        account,
        verdict="PASS",
        faults=(),
        waivers=(),
        checkpoints=(replace(one, checks=(replace(breach, became=became),)),),
    )
    (found,) = issues_of(partial)
    assert (found["check_name"], found["severity"]) == ("pytest-maxact/max_abs", "minor")
    assert found["description"].startswith("plain: left out of this run, and would fail: layers.1.hidden: max_abs")


def test_a_run_that_did_not_finish_is_not_empty() -> None:
    assert [one["severity"] for one in issues_of(Account())] == ["blocker"]


def test_a_run_of_no_check_is_no_clean_one_and_another_model_has_other_issues() -> None:
    (one,) = issues_of(Account(faults=(), about="models/one"))
    (other,) = issues_of(Account(faults=(), about="models/other"))
    assert (one["severity"], "no check was run" in one["description"]) == ("blocker", True)
    assert one["fingerprint"] != other["fingerprint"]
    assert [one] == issues_of(Account(faults=(), about="/elsewhere/models/one"))


def test_a_run_that_found_nothing_is_an_empty_list_which_the_next_may_replace(tmp_path: Path) -> None:
    path = tmp_path / "quality.json"
    path.write_text(issues_json(Account(verdict="PASS", faults=())))
    assert json.loads(path.read_text()) == []
    assert is_issues(path)
    for text in ('[{"check_name": "other"}]', "{}", "", "[1]", "[null]"):
        path.write_text(text)
        assert not is_issues(path)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_others_are_text(name: str) -> None:
    hostile = NAMES[name]
    for one in issues_of(account_of_all(hostile)):
        assert one["description"] == shown(one["description"])
        assert len(one["description"]) <= 2000
