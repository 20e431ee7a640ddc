"""What stands for a runner of GitHub Actions in tests."""

import re
from dataclasses import dataclass

COMMANDS = {
    *("add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "notice", "remove-matcher"),
    *("save-state", "set-env", "set-output", "stop-commands", "warning"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    name: str
    properties: dict[str, str]
    text: str


def read_command(line: str) -> Command | None:
    """What a runner makes of a line of a log, by the source of its `ActionCommand`: `::name properties::text` from the
    beginning on, blanks apart, or `##[name properties]text` anywhere.
    """
    beginning = line.lstrip()
    found = re.match(r"::(.*?)::(.*)", beginning, re.DOTALL)
    if found and (command := _command(found[1], found[2], ",")):
        return command
    found = re.search(r"##\[(.*?)\](.*)", line, re.DOTALL)
    return _command(found[1], found[2], ";") if found else None


def _command(told: str, text: str, separator: str) -> Command | None:
    name, _, rest = told.partition(" ")
    if name.lower() not in COMMANDS:
        return None
    properties = dict(pair.split("=", 1) for pair in rest.split(separator) if "=" in pair)
    return Command(
        name=name,
        properties={key.strip(): _plain(value) for key, value in properties.items()},
        text=_plain(text),
    )


def _plain(text: str) -> str:
    for code, character in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, character)
    return text
