"""A run inside a workflow of GitHub's kind: its account in; the summary of the step appended to the file that the
runner names, and the lines that it makes annotations of out. Nothing happens elsewhere, or where the user turns it off.

Guards that a runner throws no summary away: a step has one MiB for all that is written into it.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from pytest_maxact.errors import message, neutral
from pytest_maxact.judge.account import Account
from pytest_maxact.record.output import unwritten

AUTO, ON, OFF = "auto", "on", "off"
STEP_BYTES = 1 << 20
SUMMARY_BYTES = 64 * 1024
_SUMMARY = "GITHUB_STEP_SUMMARY"
_LEAST = 2048
"""What a summary wants at least: its verdict, and that the rest had no room."""


def is_asked(setting: str, environment: Mapping[str, str] = os.environ) -> bool:
    """`auto`: where the runner says that it is one."""
    return setting == ON or (setting == AUTO and environment.get("GITHUB_ACTIONS", "").lower() == "true")


def summary_place(setting: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Where the summary of the step goes, by what names it; no output of the run may lie there."""
    place = environment.get(_SUMMARY, "") if is_asked(setting, environment) else ""
    return {_SUMMARY: place} if place else {}


def tell(account: Account, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Append the summary; the lines to print, annotations and what went wrong with the summary. A run of which no check
    was run says so: silence would read as a gate that passed.
    """
    from pytest_maxact.report.github.annotations import annotations
    from pytest_maxact.report.github.commands import command
    from pytest_maxact.report.markdown.summary import summary

    workspace = environment.get("GITHUB_WORKSPACE")
    said = [command(one) for one in annotations(account, Path(workspace) if workspace else account.root)]
    return [*said, *_append(lambda most: summary(account, most), environment.get(_SUMMARY))]


def refused(text: str, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Likewise, where a request was wrong and nothing began."""
    from pytest_maxact.report.github.annotations import refusal
    from pytest_maxact.report.github.commands import command
    from pytest_maxact.report.markdown.summary import refusal_summary

    place = environment.get(_SUMMARY)
    return [command(refusal(text)), *_append(lambda most: refusal_summary(text, most), place)]


def _append(page: Callable[[int], str], place: str | None) -> list[str]:
    """A page of at most so many bytes to what the step has said already; what went wrong."""
    if not place:
        return []
    try:
        with Path(place).open("ab") as file:
            before = file.tell()
            room = min(SUMMARY_BYTES, STEP_BYTES - before)
            if room < _LEAST:
                return [f"maxact: the summary of this step is full ({before} bytes); the verdict is not in it"]
            file.write(f"\n{page(room - 2)}\n".encode())
    except OSError as error:
        return [message(f"maxact: the summary of this step was not written to {place}: {unwritten(error)}", neutral)]
    return []
