"""What the command line has, by its parser: a command is tried by being there."""

import argparse
from typing import Any

from pytest_maxact.cli.main import command_line

COMMANDS: dict[str, Any] = next(
    action.choices for action in command_line()._actions if isinstance(action, argparse._SubParsersAction)
)
"""The parser of each, by its name."""
