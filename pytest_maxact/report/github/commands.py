"""Workflow commands, which a runner reads out of a log: a level, a place and a text in, a line out that says no more
than that.

Sources: https://docs.github.com/actions/reference/workflow-commands, and the runner's own `ActionCommand`: what a line
begins with `::`, blanks apart, is a command, and so is `##[name]` anywhere in one.
"""

from dataclasses import dataclass
from typing import Literal

from pytest_maxact.errors import shown

Level = Literal["error", "warning", "notice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What stands on a line of a file, or on none where `file` is empty, which is a path below the workspace."""

    level: Level
    title: str
    text: str
    file: str = ""
    line: int = 0


def command(annotation: Annotation) -> str:
    """The line that a runner makes an annotation of."""
    places = {"file": annotation.file, "line": str(annotation.line or "") if annotation.file else ""}
    properties = ",".join(
        f"{name}={_property(value)}" for name, value in (*places.items(), ("title", annotation.title)) if value
    )
    return f"::{annotation.level} {properties}::{_data(annotation.text)}"


def _data(text: str) -> str:
    """On as many lines as it has; what else does not print is spelled out."""
    return _encoded("\n".join(map(shown, text.split("\n"))))


def _property(text: str) -> str:
    return _encoded(shown(text)).replace(":", "%3A").replace(",", "%2C")


def _encoded(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
