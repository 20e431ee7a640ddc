"""The rules of a SARIF file: one per metric, with what it is and what to do about a breach as its help, and two of what
is no metric.
"""

from typing import Any

from pytest_maxact.errors import InputError, Words, worded
from pytest_maxact.judge.explain.entry import Entry
from pytest_maxact.judge.explain.lookup import explain
from pytest_maxact.report.data.problems import RUN, WAIVER

_HELP = "https://github.com/pytest-maxact/pytest-maxact/blob/main/docs/metrics.md"
_OTHERS = {
    RUN: (
        "The run could not judge the checkpoint",
        "Nothing is known of checks that were not judged: no weights, no whole measurement, or something that broke the"
        " run off. It is a failure, and no pass of the others.",
    ),
    WAIVER: (
        "A waiver fails",
        "It has expired, or none of the checks that it lets pass fails any more. Mend the checkpoint, renew the waiver"
        " with a reason, or remove it.",
    ),
}


def rule(name: str, words: Words) -> dict[str, Any]:
    """The descriptor of one rule."""
    short, long = _OTHERS.get(name) or _explained(name, words)
    return {
        "id": name,
        "name": name,
        "shortDescription": {"text": short},
        "fullDescription": {"text": long.partition("\n")[0]},
        "help": {"text": long, "markdown": long},
        "helpUri": _HELP,
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["model", "activations"], "problem.severity": "error", "precision": "very-high"},
    }


def _explained(name: str, words: Words) -> tuple[str, str]:
    try:
        entries = explain(name)
    except InputError:
        return name, name
    return worded(entries[0].brief, words), worded("\n\n".join(map(_help, entries)), words)


def _help(entry: Entry) -> str:
    """In paragraphs, as both plain text and Markdown have them."""
    parts = [entry.what]
    if entry.breach:
        parts.append(entry.breach)
    parts.append("\n".join(f"- {cause}: {do}" for cause, do in entry.todo))
    return "\n\n".join(part for part in parts if part)
