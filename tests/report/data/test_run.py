"""The JSON report of a run: the published schema holds for it, whatever became of it and whatever things are called."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_maxact.judge.account import Account
from pytest_maxact.judge.verdict.tally import Told, tally_of
from pytest_maxact.report.data.run.form import RunReport
from pytest_maxact.report.data.run.text import is_run_report, run_json
from tests.support.accounts import account_of_all
from tests.support.hostile import NAMES
from tools.write_schema import REPORT, schemas

VALIDATOR = jsonschema.Draft202012Validator(json.loads(REPORT.read_text(encoding="utf-8")))


def told(account: Account) -> Any:
    text = run_json(account)
    assert text.isascii()
    document = json.loads(text)
    VALIDATOR.validate(document)
    assert document.keys() == {one.alias or name for name, one in RunReport.model_fields.items()}
    return document


def test_the_published_schema_is_the_one_that_it_is_written_by() -> None:
    assert REPORT.read_text(encoding="utf-8") == schemas()[REPORT], "write it again: python -m tools.write_schema"
    jsonschema.Draft202012Validator.check_schema(VALIDATOR.schema)


def test_every_check_is_there_with_what_became_of_it() -> None:
    document = told(account_of_all())
    (one,) = document["checkpoints"]
    became = [(check["outcome"], check["value"], check["limit"]) for check in one["checks"]]
    assert [outcome for outcome, *_ in became] == [
        "held", "does not hold", "waived", "held", "could not be judged", "not run",
    ]  # fmt: skip
    held, breach, waived, close, unjudged, _ = one["checks"]
    assert (breach["value"], breach["limit"], breach["headroom"], breach["layer"]) == (24.0, 8.0, -2.0, 1)
    assert (held["headroom"], close["headroom"]) == (0.76, None)
    assert (waived["waived"]["until"], waived["passed"]) == ("2026-03-31", False)
    assert (close["too_close"], close["interval"]["low"], close["interval"]["high"]) == (True, 30.5, "inf")
    assert (unjudged["value"], unjudged["passed"], unjudged["message"]) == (None, None, "weights are gone")
    assert (breach["peak"]["value"], breach["peak"]["token"]) == (24.0, "plain")
    assert (one["m"]["value"], one["measured"]["model"]) == (24.0, "plain")


def test_the_counts_are_those_of_the_checks() -> None:
    account = account_of_all()
    (one,) = account.checkpoints
    breach = one.checks[1]
    assert account.outcome
    assert breach.finding
    both = replace(breach, finding=replace(breach.finding, close=True))
    checks = tuple(both if told is breach else told for told in one.checks)
    findings = [Told(checkpoint="", finding=told.finding) for told in checks if told.finding]
    tally = tally_of(findings, unknown=1, unjudged=1)
    document = told(
        replace(
            account,
            checkpoints=(replace(one, checks=checks),),
            outcome=replace(account.outcome, verdict=replace(tally, waivers=1, failing_waivers=1, waivers_left=0)),
        )
    )
    made, waivers = document["checkpoints"][0]["checks"], document["waivers"]
    became = Counter(check["outcome"] for check in made)
    close = Counter(check["outcome"] for check in made if check["too_close"])
    assert document["counts"] == {
        "checks": became["held"] + became["does not hold"] + became["waived"],
        "failed": became["does not hold"],
        "waived": became["waived"],
        "too_close": close["held"],
        "failed_too_close": close["does not hold"],
        "unjudged": became["could not be judged"],
        "not_run": became["not run"],
        "waivers": len(waivers),
        "waivers_failed": sum(waiver["outcome"] == "does not hold" for waiver in waivers),
        "waivers_not_run": sum(waiver["outcome"] in ("not run", "deselected") for waiver in waivers),
    }
    assert (close["held"], close["does not hold"]) == (1, 1)


def test_what_is_no_number_is_a_word() -> None:
    account = account_of_all()
    (one,) = account.checkpoints
    values = (float("nan"), float("inf"), float("-inf"))
    breach = one.checks[1]
    assert breach.finding
    checks = tuple(replace(breach, finding=replace(breach.finding, value=value)) for value in values)
    document = told(replace(account, checkpoints=(replace(one, checks=checks),)))
    assert [check["value"] for check in document["checkpoints"][0]["checks"]] == ["nan", "inf", "-inf"]


def test_a_run_that_did_not_finish_is_none_that_passed() -> None:
    document = told(Account())
    assert (document["verdict"], document["finished"]) == ("NONE", False)


@pytest.mark.parametrize("key", ["verdict", "schema", "version", "checkpoints"])
def test_the_schema_refuses_a_report_that_lacks_something(key: str) -> None:
    document = told(account_of_all())
    del document[key]
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(document)


def test_what_a_later_version_adds_is_let_stand_and_another_word_is_not() -> None:
    document = told(account_of_all())
    VALIDATOR.validate(document | {"version": "1.7", "more": 1})
    for change in ({"version": "2.0"}, {"verdict": "MAYBE"}, {"schema": "other"}):
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate(document | change)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_others_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    hostile = NAMES[name]
    whole = hostile.replace("\ud800", "\ufffd")
    account = account_of_all(hostile)
    document = told(account)
    (one,) = document["checkpoints"]
    assert (one["name"], one["title"], one["given"], one["measured"]["model"]) == (whole,) * 4
    assert one["checks"][1]["peak"]["token"] == one["checks"][1]["peak"]["sample"] == whole
    assert one["checks"][1]["peak"]["before"] == one["checks"][1]["peak"]["after"] == whole
    assert document["waivers"][0]["waiver"]["reason"] == whole
    path = tmp_path / "report.json"
    path.write_text(run_json(account), encoding="utf-8")
    assert is_run_report(path)


def test_a_file_of_another_kind_is_none_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    for text in ("", "[]", '{"schema": 1}', "1", "[" * 100_000, '{"_type": "https://in-toto.io/Statement/v1"}'):
        path.write_text(text)
        assert not is_run_report(path)
