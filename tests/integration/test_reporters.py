"""What other reporters show of a gate: pytest-html, pytest-json-ctrf, Allure and pytest-reportlog, over a breach, a
check that is waived, and a checkpoint that could not be measured.
"""

import json
import os
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from pytest_maxact.plugin.reporters import table
from tests.support import tiny
from tests.support.gate_runs import drop_tensor, run_gate
from tests.support.hostile import NAMES, is_text

OPTIONS = (
    "--ctrf=ctrf.json",
    "--html=page.html",
    "--self-contained-html",
    "--alluredir=allure",
    "--report-log=log.jsonl",
)
SOON = datetime.now(timezone.utc).date() + timedelta(days=9)
LIMITS = f"""\
version: 1
extends: builtin
waive:
- {{site: layers.0.hidden, metric: max_abs, reason: known, owner: ann, until: {SOON}}}
families:
  qwen3:
    layers:
      "layers.[01].hidden": {{hidden: 1.0}}
"""
REPORTERS = ("html", "html_fixtures", "metadata", "ctrf", "allure_pytest", "pytest_reportlog")
"""Their names as plugins, which runs inside of other tests are deaf to."""
BREACH, WAIVED = "layers.1.hidden::max_abs", "layers.0.hidden::max_abs"


@pytest.fixture(autouse=True)
def _heard(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    silenced = os.environ["PYTEST_ADDOPTS"].replace("-p no:", "")
    monkeypatch.setenv(
        "PYTEST_ADDOPTS", " ".join(f"-p no:{name}" for name in silenced.split() if name not in REPORTERS)
    )


def by_ctrf(folder: Path) -> dict[str, Any]:
    tests = json.loads((folder / "ctrf.json").read_text())["results"]["tests"]
    return {test["name"].removeprefix("maxact::"): test for test in tests}


def by_allure(folder: Path) -> dict[str, Any]:
    found = [json.loads(path.read_text()) for path in (folder / "allure").glob("*-result.json")]
    return {test["name"].removeprefix("maxact::"): test for test in found}


def by_log(folder: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    told = [
        one
        for one in lines
        if one.get("when") == "call" or (one.get("when"), one.get("outcome")) == ("setup", "failed")
    ]
    return {one["nodeid"].removeprefix("maxact::"): one for one in told}


def by_page(folder: Path) -> dict[str, Any]:
    """The data that pytest-html's page draws."""

    class Page(HTMLParser):
        data: Any = None

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.data = self.data or json.loads(dict(attrs).get("data-jsonblob") or "null")

    page = Page()
    page.feed((folder / "page.html").read_text())
    return {name.removeprefix("maxact::"): tests[0] for name, tests in page.data["tests"].items()}


def test_a_breach_and_a_waived_check_are_shown_with_their_figures(pytester: pytest.Pytester, saved: Path) -> None:
    files = {"limits.yaml": dedent(LIMITS)}
    run_gate(pytester, f"--maxact-replay={saved}", "--maxact-limits=limits.yaml", *OPTIONS, files=files, exit=1)
    ctrf, allure, log, page = (read(pytester.path) for read in (by_ctrf, by_allure, by_log, by_page))
    figures = ctrf[BREACH]["parameters"]
    assert figures["value"] > figures["limit"] == 1.0
    assert (figures["site"], figures["layer"], figures["line"]) == ("layers.1.hidden", 1, 8)
    assert {f"maxact.{name}": value for name, value in figures.items()} == dict(log[BREACH]["user_properties"])
    told = {one["name"]: one["value"] for one in allure[BREACH]["parameters"]}
    assert float(told["value"]) == figures["value"]
    assert all(one["excluded"] for one in allure[BREACH]["parameters"])
    (entry,) = page[BREACH]["extras"]
    assert f"<td>value</td><td>{figures['value']}</td>" in entry["content"]
    assert (ctrf[BREACH]["status"], allure[BREACH]["status"], page[BREACH]["result"]) == ("failed", "failed", "Failed")
    assert (ctrf[WAIVED]["status"], allure[WAIVED]["status"]) == ("skipped", "skipped")
    assert "by ann: known" in ctrf[WAIVED]["parameters"]["waived"]
    for text in (ctrf[WAIVED]["trace"], allure[WAIVED]["statusDetails"]["trace"], page[WAIVED]["log"]):
        assert "by ann: known" in text
        assert "CallInfo" not in text


def test_what_could_not_be_measured_is_an_error_with_its_limit(
    pytester: pytest.Pytester, tmp_path: Path, corpus: Path
) -> None:
    folder = tiny.save(tmp_path / "model", tiny.planted_model("qwen3", layer=1, value=64.0))
    drop_tensor(folder, "layers.1.mlp.down_proj.weight")
    run_gate(pytester, f"--maxact-model={folder}", f"--maxact-corpus={corpus}", *OPTIONS, exit=1)
    ctrf, allure, log, page = (read(pytester.path) for read in (by_ctrf, by_allure, by_log, by_page))
    figures = ctrf[BREACH]["parameters"]
    assert "value" not in figures
    assert figures["limit"] > 1
    assert "down_proj" in ctrf[BREACH]["message"]
    assert ctrf[BREACH]["status"] == "failed"
    assert allure[BREACH]["status"] in ("broken", "failed")
    assert {one["name"] for one in allure[BREACH]["parameters"]} == figures.keys()
    assert page[BREACH]["result"] == "Error"
    assert dict(log[BREACH]["user_properties"])["maxact.limit"] == figures["limit"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_others_are_text_on_the_page(name: str) -> None:
    hostile = NAMES[name]

    class Cells(HTMLParser):
        tags: frozenset[str] = frozenset()
        text = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags |= {tag}

        def handle_data(self, data: str) -> None:
            self.text += data

    cells = Cells()
    cells.feed(table([("rule", hostile)]))
    assert cells.tags == {"table", "tr", "td"}
    assert is_text(cells.text)
