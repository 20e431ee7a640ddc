"""A command that runs code which comes with the weights, in a process apart: how it ended is believed only where it
said so itself.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from pytest_maxact.gate import apart

_ARGUMENTS, _CODE = "arguments.json", "code.json"


def command_apart(module: str, arguments: Sequence[str]) -> int:
    """Have `module` run a command; its exit code. Raises MeasureError where its process ended otherwise."""
    with apart.room() as folder:
        (folder / _ARGUMENTS).write_text(json.dumps(list(arguments)), encoding="utf-8")
        apart.run(module, folder)
        return int(json.loads((folder / _CODE).read_text(encoding="utf-8")))


def work_of(folder: Path, command: Callable[[Sequence[str]], int]) -> None:
    """In the process apart: run the command that was left there, and leave its exit code."""
    code = command(json.loads((folder / _ARGUMENTS).read_text(encoding="utf-8")))
    (folder / _CODE).write_text(json.dumps(code), encoding="utf-8")
