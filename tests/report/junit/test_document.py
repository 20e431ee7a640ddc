"""JUnit's file of an account: within the schema, a test case for each check, and an error where nothing was judged."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pytest_maxact.errors import shown
from pytest_maxact.judge.account import Account
from pytest_maxact.report.junit.document import is_junit, junit_xml
from tests.support.accounts import account_of_all
from tests.support.hostile import NAMES
from tests.support.junit import strict


def suite(account: Account) -> ET.Element:
    root = ET.fromstring(junit_xml(account))
    strict(root)
    (found,) = root
    return found


def ended(found: ET.Element, kind: str) -> list[str]:
    return [str(case.get("name")) for case in found.findall("testcase") if case.find(kind) is not None]


def test_every_check_waiver_and_fault_is_a_test_case() -> None:
    found = suite(account_of_all())
    assert {name: found.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "8", "failures": "2", "errors": "2", "skipped": "2"
    }  # fmt: skip
    assert ended(found, "failure") == ["plain::layers.1.hidden::max_abs", "waive::plain"]
    assert ended(found, "error") == ["plain::plain::max_abs", "run"]
    assert ended(found, "skipped") == ["plain::final_norm::max_abs", "plain::embedding::max_abs"]
    case = next(one for one in found.findall("testcase") if one.get("name") == "plain::layers.1.hidden::max_abs")
    assert case.get("classname") == "maxact.plain.layers.1.hidden"
    assert "[[PROPERTY|maxact.value=24.0]]" in (case.findtext("system-out") or "").split("\n")
    assert "[[PROPERTY|maxact.limit=8.0]]" in (case.findtext("system-out") or "")
    told = {one.get("name"): one.get("value") for one in found.findall("properties/property")}
    assert told["maxact.verdict"] == "FAIL"
    assert told["maxact.plain.m"] == "24"


def test_a_run_that_did_not_finish_or_judged_nothing_is_an_error() -> None:
    for account in (Account(), Account(faults=())):
        assert ended(suite(account), "error") == ["run"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_of_others_are_text(name: str, tmp_path: Path) -> None:
    found = suite(account_of_all(name, root=tmp_path / "top"))
    assert found.get("tests") == "8"
    case = found.findall("testcase")[1]
    assert case.get("name") == f"{shown(name)}::layers.1.hidden::max_abs"
    failure = case.find("failure")
    assert failure is not None
    assert shown(name) in str(failure.get("message"))
    assert all(line.startswith("[[PROPERTY|maxact.") for line in str(case.findtext("system-out")).split("\n"))


def test_what_may_be_replaced_is_a_file_of_ours(tmp_path: Path) -> None:
    place = tmp_path / "out.xml"
    place.write_bytes(junit_xml(Account()))
    assert is_junit(place)
    place.write_text('<?xml version="1.0"?><testsuites name="pytest tests"><testsuite/></testsuites>')
    assert not is_junit(place)
    assert not is_junit(tmp_path / "none.xml")
