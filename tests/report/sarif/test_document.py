"""SARIF: what code scanning shows of a run, held to what the standard and GitHub ask of a file."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest

from pytest_maxact.errors import message, shown
from pytest_maxact.judge.account import UNFINISHED, Account
from pytest_maxact.judge.limits.file import builtin_path
from pytest_maxact.report.sarif.document import MOST_RESULTS, is_sarif, sarif_json
from pytest_maxact.settings.option import pytest_option
from tests.support.accounts import account_of_all
from tests.support.hostile import NAMES
from tests.support.paths import REPOSITORY
from tests.support.sarif import SCHEMA


def run_of(account: Account) -> Any:
    text = sarif_json(account)
    assert text.isascii()
    document = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    (run,) = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert all(rules[result["ruleIndex"]] == result["ruleId"] for result in run["results"])
    assert len(set(rules)) == len(rules)
    return run


def test_one_result_for_each_breach_waiver_fault_and_close_call_and_none_for_what_holds() -> None:
    run = run_of(account_of_all())
    assert [(one["ruleId"], one["level"]) for one in run["results"]] == [
        ("run", "error"),
        ("waiver", "error"),
        ("max_abs", "error"),
        ("int8.max_abs.sqnr_db", "warning"),
        ("max_abs", "note"),
    ]
    assert run["properties"] == {"verdict": "FAIL", "M": {"plain": 24.0}}
    _, _, breach, close, waived = run["results"]
    assert (breach["properties"]["value"], breach["properties"]["limit"]) == (24.0, 8.0)
    assert close["properties"]["interval"]["high"] == "inf"
    assert (waived["suppressions"][0]["kind"], breach.get("suppressions")) == ("external", None)
    assert "known" not in waived["message"]["text"]


def test_it_stands_on_the_line_of_the_limit_below_the_root_of_the_repository(tmp_path: Path) -> None:
    run = run_of(account_of_all("a b/c", root=tmp_path))
    place = run["results"][2]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "a%20b/c/limits.yaml", "uriBaseId": "SRCROOT"}
    assert place["region"] == {"startLine": 7}
    assert run["originalUriBaseIds"]["SRCROOT"]["uri"] == f"{tmp_path.as_uri()}/"


@pytest.mark.parametrize("file", ["/usr/lib/pytest_maxact/judge/limits/thresholds.yaml", str(builtin_path())])
def test_shipped_limits_have_one_path_on_every_machine(file: str) -> None:
    account = account_of_all()
    (one,) = account.checkpoints
    checks = tuple(replace(told, limit=replace(told.limit, file=file)) for told in one.checks)
    run = run_of(replace(account, checkpoints=(replace(one, checks=checks),)))
    uris = {found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for found in run["results"]}
    assert "pytest_maxact/judge/limits/thresholds.yaml" in uris


def test_an_alert_stays_one_from_run_to_run_whatever_its_figures() -> None:
    first, other = account_of_all(), account_of_all()
    (one,) = other.checkpoints
    changed = tuple(
        replace(
            told,
            limit=replace(told.limit, line=told.limit.line + 30),
            finding=told.finding and replace(told.finding, value=told.finding.value * 2, message="another"),
        )
        for told in one.checks
    )
    other = replace(other, checkpoints=(replace(one, checks=changed),))
    prints = [[found["partialFingerprints"] for found in run_of(account)["results"]] for account in (first, other)]
    assert prints[0] == prints[1]
    assert len({found["primaryLocationLineHash"] for found in prints[0]}) == len(prints[0])


def test_a_run_that_did_not_finish_is_no_clean_one() -> None:
    run = run_of(Account(about="org/name"))
    assert [one["message"]["text"] for one in run["results"]] == [UNFINISHED]
    assert run["invocations"][0]["executionSuccessful"] is False


def test_a_run_of_no_check_is_no_clean_one_either() -> None:
    run = run_of(Account(about="org/name", faults=()))
    assert [one["level"] for one in run["results"]] == ["error"]
    assert run["invocations"][0]["executionSuccessful"] is False


@pytest.mark.parametrize(
    ("about", "category"),
    [("org/name", "org-name"), ("/home/ann/runs/latest", "runs-latest"), ("run.safetensors", "run.safetensors"),
     ("runs/checkpoint-*", "runs-checkpoint"), ("a/b/../../etc|x", "..-etc-x")],
)  # fmt: skip
def test_alerts_of_each_checkpoint_have_a_category_of_their_own(about: str, category: str) -> None:
    assert run_of(Account(about=about))["automationDetails"]["id"] == f"pytest-maxact/{category}/"


def test_what_github_would_refuse_is_left_out_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SCHEMA["properties"]["runs"]["items"]["properties"]["results"]["maxItems"] == MOST_RESULTS
    monkeypatch.setattr("pytest_maxact.report.sarif.document.MOST_RESULTS", 100)
    account = account_of_all()
    (one,) = account.checkpoints
    breach = one.checks[1]
    many = tuple(replace(breach, id=f"maxact::{place}") for place in range(105))
    run = run_of(replace(account, checkpoints=(replace(one, checks=many),)))
    assert len(run["results"]) == 99
    assert "8 more results are left out" in run["invocations"][0]["toolExecutionNotifications"][-1]["message"]["text"]


def test_every_rule_says_what_it_is_and_what_to_do() -> None:
    rules = {rule["id"]: rule for rule in run_of(account_of_all())["tool"]["driver"]["rules"]}
    assert "Largest magnitude" in rules["max_abs"]["shortDescription"]["text"]
    assert "--maxact-limits" in rules["max_abs"]["help"]["text"]
    assert "dB" in rules["int8.max_abs.sqnr_db"]["help"]["markdown"]
    assert not [rule for rule in rules.values() if "\ue000" in json.dumps(rule, ensure_ascii=False)]


def test_every_rule_leads_to_a_page_of_this_repository() -> None:
    for one in run_of(account_of_all())["tool"]["driver"]["rules"]:
        site, _, page = one["helpUri"].partition("/blob/main/")
        assert site == "https://github.com/pytest-maxact/pytest-maxact"
        assert (REPOSITORY / page).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_names_of_others_are_text(name: str, tmp_path: Path) -> None:
    hostile = NAMES[name]
    run = run_of(account_of_all(hostile))
    for one in run["results"]:
        text = one["message"]["text"]
        assert text == shown(text)
        assert "](" not in text.replace("\\](", "")
        assert Counter(text)["{"] % 2 == Counter(text)["}"] % 2 == 0
    said = run["results"][0]["message"]["text"].replace("{{", "{").replace("}}", "}")
    if "](" not in hostile and len(hostile) < 4000:
        assert " ".join(message(f"a {hostile}", pytest_option).split("\n")).removeprefix("a ") in said
    path = tmp_path / "found.sarif"
    path.write_text(sarif_json(account_of_all(hostile)), encoding="utf-8")
    assert is_sarif(path)
    uri = run["results"][2]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.isascii()
    if hostile.isprintable() and len(hostile) < 200:
        assert unquote(uri).endswith(str(Path(hostile) / "limits.yaml"))


def test_a_file_of_another_tool_is_none_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "other.sarif"
    for text in ("", "[]", '{"runs": []}', '{"runs": [{"tool": {"driver": {"name": "CodeQL"}}}]}', "[" * 100_000):
        path.write_text(text)
        assert not is_sarif(path)
