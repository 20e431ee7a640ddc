"""A SARIF 2.1.0 file of a run: an account in, JSON out that views of code scanning show on the lines of limits.

Guards that an alert stays one from run to run (a fingerprint of the check alone, which no figure and no line is part
of), that no name is read as a link or a placeholder of a message, and that a run which judged nothing is no clean one.

Sources: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html, and for what GitHub takes of it
https://docs.github.com/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pytest_maxact.errors import cut, in_a_line, shown
from pytest_maxact.judge.account import Account
from pytest_maxact.report.data.problems import Problem, about, below, problems_of
from pytest_maxact.report.data.run.checks import check_form, number
from pytest_maxact.report.sarif.rules import rule

MOST_RESULTS = 25_000
"""GitHub refuses a file of more."""
_TOOL = "pytest-maxact"
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LONGEST = 4000
"""Of a message, in characters; of a longer one its first words."""
_TOLD = ("site", "layer", "baseline", "value", "limit", "sense", "headroom", "too_close", "inside_noise", "interval")


def sarif_json(account: Account) -> str:
    return json.dumps(_document(account), indent=1, allow_nan=False) + "\n"


def is_sarif(path: Path) -> bool:
    """Whether a file is a SARIF file of ours: what may be replaced by one."""
    try:
        document = json.loads(path.read_bytes())
        return all(run["tool"]["driver"]["name"] == _TOOL for run in document["runs"]) and bool(document["runs"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _document(account: Account) -> dict[str, Any]:
    problems = problems_of(account)
    kept = problems if len(problems) <= MOST_RESULTS else problems[: MOST_RESULTS - 1]
    names = list(dict.fromkeys(problem.rule for problem in kept))
    notes = [_notification(in_a_line(fault, account.words)) for fault in account.faults]
    if more := len(problems) - len(kept):
        notes.append(_notification(f"{more} more results are left out: a file holds {MOST_RESULTS} at most"))
    judged = account.verdict != "NONE" and not account.faults
    run = {
        "tool": {
            "driver": {
                "name": _TOOL,
                "version": version(_TOOL),
                "informationUri": "https://github.com/pytest-maxact/pytest-maxact",
                "rules": [rule(name, account.words) for name in names],
            }
        },
        "automationDetails": {"id": f"{_TOOL}/{about(account)}/"},
        "originalUriBaseIds": {"SRCROOT": {"uri": f"{account.root.resolve().as_uri()}/"}},
        "invocations": [{"executionSuccessful": judged, "toolExecutionNotifications": notes}],
        "columnKind": "unicodeCodePoints",
        "results": [_result(account, problem, names.index(problem.rule)) for problem in kept],
        "properties": {"verdict": account.verdict, "M": _maxima(account)},
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(account: Account, problem: Problem, index: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": problem.rule,
        "ruleIndex": index,
        "level": problem.level,
        "message": _message(problem.text),
        "locations": [_location(problem.file, problem.line)],
        "partialFingerprints": {
            "primaryLocationLineHash": f"{problem.fingerprint[:16]}:1", "maxactCheck/v1": problem.fingerprint
        },
    }  # fmt: skip
    if waiver := problem.waiver:
        found["suppressions"] = [
            {
                "kind": "external",
                "status": "accepted",
                "justification": problem.waived,
                "location": _location(below(waiver.file, account.root), waiver.line),
            }
        ]
    if problem.told:
        form = check_form("", problem.told).model_dump()
        found["properties"] = {"check": shown(problem.id), **_plain({name: form[name] for name in _TOLD})}
    return found


def _location(file: str, line: int) -> dict[str, Any]:
    return {"physicalLocation": {"artifactLocation": _artifact(file), "region": {"startLine": max(line, 1)}}}


def _artifact(file: str) -> dict[str, str]:
    """Below the root of the repository, or where the system has it."""
    if Path(file).is_absolute():
        return {"uri": f"file:///{quote(Path(file).as_posix().lstrip('/'), errors='surrogatepass')}"}
    return {"uri": quote(file, errors="surrogatepass"), "uriBaseId": "SRCROOT"}


def _notification(text: str) -> dict[str, Any]:
    return {"level": "error", "message": _message(text)}


def _message(text: str) -> dict[str, str]:
    """Braces stand for arguments there, and brackets before a parenthesis for a link, unless they are escaped."""
    told = cut(text, _LONGEST).replace("{", "{{").replace("}", "}}")
    if "](" in told:
        told = told.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return {"text": told}


def _maxima(account: Account) -> dict[str, Any]:
    """M of every checkpoint that was measured, by its name."""
    measured = account.outcome.measured if account.outcome else ()
    return {shown(one.name or one.label): number(one.portrait.m.value) for one in measured if one.portrait}


def _plain(data: Any) -> Any:
    if isinstance(data, str):
        return shown(data)
    if isinstance(data, dict):
        return {name: _plain(value) for name, value in data.items()}
    return data
