"""`maxact measure | judge | show | compare | series | ...`: the gate outside pytest, in parts.

One module per command says what it takes and what it does; here they are one parser, and what they raise becomes an
exit code.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from pytest_maxact.cli import compare, export, judge, measure, merge, series, show, sites, suggest, verify, weights
from pytest_maxact.cli.exits import FAILED, INTERRUPTED, USAGE
from pytest_maxact.cli.words import argument
from pytest_maxact.errors import InputError, MaxactError

_COMMANDS = (measure, judge, verify, show, compare, series, merge, suggest, export, weights, sites)
"""In the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = command_line().parse_args(argv)
    try:
        return int(options.run(options))
    except InputError as error:
        print(f"maxact: {error.worded(argument)}", file=sys.stderr)
        return USAGE
    except MaxactError as error:
        print(f"maxact: could not measure: {error.worded(argument)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("maxact: interrupted, nothing was written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def command_line() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = _Parser(
        prog="maxact", description="Maximum activations and low-bit reconstruction error of LLM checkpoints."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


class _Version(argparse.Action):
    """Asks the installation, and only when it is asked itself."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        from importlib.metadata import version

        print(f"maxact {version('pytest-maxact')}")
        parser.exit()
