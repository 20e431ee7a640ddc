"""GitLab's code quality report: an account in, a list of issues as JSON out. A run that found nothing gives an empty
list.

Source: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from pytest_maxact.errors import cut, shown
from pytest_maxact.judge.account import Account
from pytest_maxact.report.data.problems import RUN, Problem, about, problems_of

_PREFIX = "pytest-maxact/"
_SEVERITIES = {"error": "critical", "warning": "minor", "note": "info"}
_LONGEST = 2000
"""Of a description, in characters; of a longer one its first words."""


def issues_json(account: Account) -> str:
    return json.dumps([_issue(one, about(account)) for one in problems_of(account)], indent=1) + "\n"


def is_issues(path: Path) -> bool:
    """Whether a file is a list of issues of ours, or an empty one: what may be replaced by one."""
    try:
        document = json.loads(path.read_bytes())
        return isinstance(document, list) and all(one["check_name"].startswith(_PREFIX) for one in document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _issue(problem: Problem, whose: str) -> dict[str, Any]:
    waived = f"{problem.waived}; " if problem.waived else ""
    return {
        "description": cut(f"{waived}{problem.text}", _LONGEST),
        "check_name": f"{_PREFIX}{problem.rule}",
        "fingerprint": hashlib.sha256(f"{whose}\n{problem.fingerprint}".encode()).hexdigest(),
        "severity": "blocker" if problem.rule == RUN and problem.level == "error" else _SEVERITIES[problem.level],
        "location": {"path": shown(problem.file), "lines": {"begin": max(problem.line, 1)}},
    }
