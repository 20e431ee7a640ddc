"""Numbers agree in all outputs: M, the SQNR of the site that carries it, the limit on that and its interval, read back
from every file and text that one run writes.
"""

import html
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from pytest_maxact.judge.statement.schema import DETAILS
from pytest_maxact.record.file import load
from pytest_maxact.record.metrics.metric import Metric
from pytest_maxact.record.metrics.value import metric_value
from tests.support.gate_runs import CHECKS, run_gate
from tests.support.runner import read_command

SQNR = "int8.max_abs.sqnr_db"
SAVED = Path(__file__).parents[1] / "data" / "records" / "bfloat16.safetensors"
"""Whose SQNR moves by more than half a decibel when it is measured again, so that it has an interval to read."""
SUMMARY = "summary.md"
CHECK = f"carrier::{SQNR}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What was read; None of what a medium does not tell: those of checks have no M, a bill of materials no limit."""

    m: float | None
    sqnr: float
    limit: float | None = None
    low: float | None = None
    high: float | None = None


def in_words(text: str, m: float | None) -> Read:
    """From a message of the check, wherever lines are broken; of the interval it tells the end beyond the limit."""
    found = re.search(
        rf"{re.escape(SQNR)} ([\d.]+) falls below the limit ([\d.]+).*?too close to call: .*?([\d.]+) dB", text
    )
    assert found, text
    sqnr, limit, high = map(float, found.groups())
    return Read(m=m, sqnr=sqnr, limit=limit, high=high)


def terminal(folder: Path, printed: str) -> Read:
    running = " ".join(printed.split())
    m = re.search(r"\bM ([\d.]+) in [a-z]", running)
    assert m
    return in_words(running, float(m[1]))


def report(folder: Path, printed: str) -> Read:
    (one,) = json.loads((folder / "report.json").read_text())["checkpoints"]
    check = next(check for check in one["checks"] if check["check"].endswith(CHECK))
    return Read(
        m=one["m"]["value"], sqnr=check["value"], limit=check["limit"],
        low=check["interval"]["low"], high=check["interval"]["high"],
    )  # fmt: skip


def verdict(folder: Path, printed: str) -> Read:
    statement = json.loads((folder / "verdict.json").read_text())
    checks = statement["predicate"][DETAILS]["checkpoints"][0]["checks"]
    check = next(check for check in checks if check["check"].endswith(CHECK))
    return Read(m=None, sqnr=check["value"], limit=check["limit"], low=check["low"], high=check["high"])


def junit(folder: Path, printed: str) -> Read:
    suite = ET.parse(folder / "junit.xml").getroot()
    told = {one.get("name"): one.get("value", "") for one in suite.iter("property")}
    case = next(case for case in suite.iter("testcase") if str(case.get("name")).endswith(CHECK))
    own = dict(re.findall(r"\[\[PROPERTY\|maxact\.(\w+)=([^\]]*)\]\]", case.findtext("system-out") or ""))
    return Read(
        m=float(told["maxact.m"]), sqnr=float(own["value"]), limit=float(own["limit"]),
        low=float(own["low"]), high=float(own["high"]),
    )  # fmt: skip


def sarif(folder: Path, printed: str) -> Read:
    (run,) = json.loads((folder / "found.sarif").read_text())["runs"]
    told = next(one["properties"] for one in run["results"] if one["properties"]["check"].endswith(CHECK))
    (m,) = run["properties"]["M"].values()
    between: Any = told["interval"]
    return Read(m=m, sqnr=told["value"], limit=told["limit"], low=between["low"], high=between["high"])


def codequality(folder: Path, printed: str) -> Read:
    issues = json.loads((folder / "quality.json").read_text())
    return in_words(next(one["description"] for one in issues if one["check_name"].endswith(SQNR)), None)


def in_markdown(text: str) -> Read:
    """From the tables of a page of Markdown."""
    m = re.search(r"\n\| M \| \*\*([\d.]+)\*\*", text)
    number = r"([\d.]+)"
    found = re.search(
        rf"{re.escape(SQNR)}` \| {number} \| at least {number} \| {number} to {number} on this text \|", text
    )
    assert m, text
    assert found, text
    sqnr, limit, low, high = map(float, found.groups())
    return Read(m=float(m[1]), sqnr=sqnr, limit=limit, low=low, high=high)


def summary(folder: Path, printed: str) -> Read:
    return in_markdown((folder / SUMMARY).read_text())


def annotations(folder: Path, printed: str) -> Read:
    told = (found for line in printed.splitlines() if (found := read_command(line)))
    return in_words(next(one.text for one in told if SQNR in one.text), None)


def card(folder: Path, printed: str) -> Read:
    content = (folder / "README.md").read_text()
    _, front, block = content.split("---\n", 2)
    metrics = {one["type"]: one["value"] for one in yaml.safe_load(front)["model-index"][0]["results"][0]["metrics"]}
    told = in_markdown(block)
    assert (metrics["max_activation"], metrics["int8_sqnr"]) == (
        pytest.approx(told.m, rel=1e-5), pytest.approx(told.sqnr, rel=1e-5),
    )  # fmt: skip
    return told


def bom(folder: Path, printed: str) -> Read:
    (one,) = json.loads((folder / "bom.json").read_text())["components"]
    metrics = one["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    told = {metric["type"]: metric["value"] for metric in metrics}
    return Read(m=float(told["max_activation"]), sqnr=float(told["int8_sqnr"]))


def page(folder: Path, printed: str) -> Read:
    """From the words of the page, without its scripts and figures."""
    content = re.sub(r"<(script|style|svg).*?</\1>", "", (folder / "page.html").read_text(), flags=re.DOTALL)
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", content)).split())
    m = re.search(r" M ([\d.]+) final_norm ", words)
    between = re.search(r" interval ([\d.]+) to ([\d.]+) ", words)
    assert m, words[:1000]
    assert between, words[:1000]
    low, high = map(float, between.groups())
    found = re.search(rf"{re.escape(SQNR)} ([\d.]+) falls below the limit ([\d.]+)", words)
    assert found, words[:1000]
    return Read(m=float(m[1]), sqnr=float(found[1]), limit=float(found[2]), low=low, high=high)


MEDIA: dict[str, tuple[str, Callable[[Path, str], Read]]] = {
    "the terminal": ("", terminal),
    "the page": ("--maxact-html=page.html", page),
    "the JSON report": ("--maxact-json-report=report.json", report),
    "the verdict": ("--maxact-verdict=verdict.json", verdict),
    "JUnit": ("--junitxml=junit.xml", junit),
    "SARIF": ("--maxact-sarif=found.sarif", sarif),
    "code quality": ("--maxact-codequality=quality.json", codequality),
    "the summary of a step": ("--maxact-github=on", summary),
    "annotations": ("--maxact-github=on", annotations),
    "the model card": ("--maxact-card=README.md", card),
    "the bill of materials": ("--maxact-bom=bom.json", bom),
}
"""By what it is called: the option that asks for it, and what reads it. A new medium is a row."""


def test_every_medium_tells_the_same_numbers(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    record = load(SAVED)
    carrier = record.carrier
    sqnr = metric_value(carrier, Metric.parse(SQNR))
    limit = round(sqnr + 0.1, 2)
    limits = f"""\
        version: 1
        extends: builtin
        families:
          qwen3:
            int8: {{site: carrier, policy: max_abs, min_sqnr_db: {limit}}}
        """
    asked = sorted({option for option, _ in MEDIA.values() if option})
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / SUMMARY))
    run = run_gate(
        pytester, f"--maxact-replay={SAVED}", "--maxact-limits=limits.yaml", "-k", "sqnr", *asked,
        files={"limits.yaml": dedent(limits)}, exit=1,
    )  # fmt: skip
    printed = f"{run.stdout.str()}\n{run.stderr.str()}"
    found = {name: read(pytester.path, printed) for name, (_, read) in MEDIA.items()}
    exact = found["the JSON report"]
    assert (exact.m, exact.sqnr, exact.limit) == (carrier.max_abs, sqnr, limit)
    assert exact.low < limit < exact.high
    for name, read in found.items():
        for figure in ("m", "sqnr", "limit", "low", "high"):
            value = getattr(read, figure)
            assert value is None or value == pytest.approx(getattr(exact, figure), rel=1e-4), (name, figure)


VERDICTS: dict[str, Callable[[Path, str], str]] = {
    "the terminal": lambda folder, printed: printed.rpartition("maxact: the verdict")[2].split("\n")[1].split()[0],
    "the page": lambda folder, printed: _word((folder / "page.html").read_text(), r"<title>(\w+)"),
    "the JSON report": lambda folder, printed: str(json.loads((folder / "report.json").read_text())["verdict"]),
    "the sealed verdict": lambda folder, printed: str(
        json.loads((folder / "verdict.json").read_text())["predicate"][DETAILS]["verdict"]
    ),
    "JUnit": lambda folder, printed: _word((folder / "junit.xml").read_text(), r'"maxact.verdict" value="(\w+)"'),
    "SARIF": lambda folder, printed: str(
        json.loads((folder / "found.sarif").read_text())["runs"][0]["properties"]["verdict"]
    ),
    "the summary of a step": lambda folder, printed: _word((folder / SUMMARY).read_text(), r"## maxact: (\w+)"),
    "its sentence": lambda folder, printed: _word((folder / SUMMARY).read_text(), r"\n\*\*(\w+)"),
    "the model card": lambda folder, printed: _word(
        (folder / "README.md").read_text(), r"type: maxact_verdict\n\s+value: (\w+)"
    ),
    "its block": lambda folder, printed: _word((folder / "README.md").read_text(), r"\n\*\*(\w+)"),
    "the bill of materials": lambda folder, printed: _word(
        (folder / "bom.json").read_text(), r'"maxact_verdict",\s+"value": "(\w+)"'
    ),
}


def _word(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    assert found, (pattern, text[:2000])
    return found[1]


@pytest.mark.parametrize("left_out", [True, False], ids=["a part of the checks", "all of them"])
def test_a_part_of_the_checks_is_no_pass_in_any_medium(
    left_out: bool, pytester: pytest.Pytester, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = sorted({option for option, _ in MEDIA.values() if option})
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / SUMMARY))
    some = ("-k", "layers.1") if left_out else ()
    run = run_gate(pytester, f"--maxact-replay={saved}", "--maxact-github=on", *asked, *some, exit=0)
    printed = f"{run.stdout.str()}\n{run.stderr.str()}"
    expected = "PARTIAL" if left_out else "PASS"
    found = {name: read(pytester.path, printed) for name, read in VERDICTS.items()}
    assert found == dict.fromkeys(VERDICTS, expected)
    told = [found.text for line in printed.splitlines() if (found := read_command(line)) and found.name == "warning"]
    (result,) = json.loads((pytester.path / "found.sarif").read_text())["runs"][0]["results"] or (None,)
    quality = json.loads((pytester.path / "quality.json").read_text())
    if left_out:
        assert json.loads((pytester.path / "verdict.json").read_text())["predicate"]["verificationResult"] == "FAILED"
        words = f"not run: {CHECKS - 16} checks; this is no verdict on the whole checkpoint"
        assert told[0] == words, "a step shows ten warnings, this in any case"
        assert (result["level"], result["message"]["text"]) == ("warning", words)
        assert [one["description"] for one in quality] == [words]
    else:
        assert (result, quality) == (None, [])
        assert not [one for one in told if "not run" in one]


@pytest.mark.parametrize(
    ("some", "word", "ran", "left", "of_waivers"),
    [
        ((), "PASS", CHECKS, 0, (1, 0)),
        (("--deselect", "maxact::waive"), "PARTIAL", CHECKS, 0, (0, 1)),
        (("-k", "layers.1"), "PARTIAL", 16, CHECKS - 16, (1, 0)),
        (("maxact::layers.1.hidden::max_abs",), "PARTIAL", 1, CHECKS - 1, (0, 1)),
        (("maxact::waive",), "NONE", 0, CHECKS, (1, 0)),
    ],
    ids=["all", "no waiver", "a part", "what is waived", "waivers alone"],
)
def test_checks_and_waivers_are_counted_alike_in_every_medium(
    some: tuple[str, ...], word: str, ran: int, left: int, of_waivers: tuple[int, int], pytester: pytest.Pytester,
    saved: Path,
) -> None:  # fmt: skip
    until = datetime.now(timezone.utc).date() + timedelta(days=30)
    limits = f"""\
        version: 1
        extends: builtin
        families: {{qwen3: {{layers: {{layers.1.hidden: {{hidden: 1.0}}}}}}}}
        waive: [{{site: layers.1.hidden, metric: max_abs, reason: known, owner: me@here, until: {until}}}]
        """
    asked = sorted({option for option, _ in MEDIA.values() if option})
    run_gate(
        pytester, f"--maxact-replay={saved}", "--maxact-limits=limits.yaml", *asked, *some,
        files={"limits.yaml": dedent(limits)}, exit=0,
    )  # fmt: skip
    report = json.loads((pytester.path / "report.json").read_text())
    assert report["verdict"] == VERDICTS["the sealed verdict"](pytester.path, "") == word
    counts = report["counts"]
    assert (counts["checks"], counts["not_run"]) == (ran, left)
    assert (counts["waivers"], counts["waivers_not_run"]) == of_waivers
    suite = {one.get("name"): one.get("value") for one in ET.parse(pytester.path / "junit.xml").iter("property")}
    assert suite["maxact.checks"] == f"{ran} of {CHECKS} were run"
    bom = (pytester.path / "bom.json").read_text()
    apart = {"waivers_not_run": of_waivers[1]} if of_waivers[1] else {}
    told = {"checks": ran, "not_run": left, "would_fail": 0, **apart}
    assert dict(re.findall(r'"maxact:(checks|\w*not_run|would_fail)",\s+"value": "(\d+)"', bom)) == {
        name: f"{many}" for name, many in told.items()
    }
    metrics = yaml.safe_load((pytester.path / "README.md").read_text().split("---\n")[1])["model-index"][0]["results"]
    assert metrics[0]["metrics"][0]["args"] == told
    (found,) = json.loads((pytester.path / "found.sarif").read_text())["runs"]
    assert not [one for one in found["results"] if one["level"] == "error"], "all that ran holds or is waived"


def test_a_run_that_was_refused_has_no_verdict_in_any_medium(pytester: pytest.Pytester, saved: Path) -> None:
    asked = sorted({option for option, _ in MEDIA.values() if option})
    run_gate(pytester, f"--maxact-replay={saved}", *asked, "--maxact-family=nobody", exit=4)
    files = ("the JSON report", "JUnit", "SARIF", "the sealed verdict", "the bill of materials")
    assert {name: VERDICTS[name](pytester.path, "") for name in files} == dict.fromkeys(files, "NONE")
    assert VERDICTS["the page"](pytester.path, "") == "NOT", "NOT CHECKED"
