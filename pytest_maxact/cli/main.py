"""`maxact measure | judge | show | compare | series | ...`: the gate outside pytest, in parts.

One module per command says what it takes and what it does; here they are one parser, and what they raise becomes an
exit code.
"""

import argparse
import atexit
import gc
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, TextIO

from pytest_maxact.cli import (
    card,
    cause,
    compare,
    explain,
    export,
    figures,
    hunt,
    judge,
    lint,
    measure,
    merge,
    plan,
    report,
    series,
    show,
    sites,
    stress,
    suggest,
    trust,
    verify,
    weights,
)
from pytest_maxact.cli.examples import ending
from pytest_maxact.cli.exits import ENDED, FAILED, INTERRUPTED, UNREAD, USAGE
from pytest_maxact.cli.parser import Command, CommandLine
from pytest_maxact.cli.words import argument
from pytest_maxact.errors import InputError, MaxactError, brief, shown
from pytest_maxact.gate.ended import interrupted_by_signal

_COMMANDS = (
    measure, judge, report, explain, verify, card, show, trust, compare, series, merge, suggest, figures, export,
    weights, lint, sites, plan, stress, hunt, cause,
)  # fmt: skip
"""In the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Code that comes with the weights runs in a process apart.

    Without `argv` it is that of this process, whose SIGTERM ends the command with a code of its own. Called with one,
    it leaves signals to the caller, who would run on: a caller that is asked to end has to end.
    """
    atexit.register(gc.freeze)  # the process ends: nothing is searched for garbage once more, a tenth of a judging
    arguments = list(sys.argv[1:] if argv is None else argv)
    asked_to_end: list[str] = []
    launched = os.environ.get("RANK") and os.environ.get("WORLD_SIZE", "1") != "1"  # a launcher has its own way
    with nullcontext() if launched or argv is not None else interrupted_by_signal(asked_to_end.append):
        return _ending(lambda: _run(arguments), asked_to_end)


def _run(arguments: Sequence[str]) -> int:
    options = command_line().parse_args(arguments)
    if getattr(options, "trust_remote_code", None):
        from pytest_maxact.cli.apart import command_apart

        return command_apart(__name__, arguments)
    return int(options.run(options))


def run_apart(folder: str, parent: int) -> None:
    """In the process apart."""
    from pytest_maxact.cli.apart import work_of
    from pytest_maxact.gate.apart import told_apart

    def command(arguments: Sequence[str]) -> int:
        options = command_line().parse_args(arguments)
        return _ending(lambda: int(options.run(options)))

    told_apart(Path(folder), parent, lambda: work_of(Path(folder), command))


def _ending(command: Callable[[], int], asked_to_end: Sequence[str] = ()) -> int:
    """The exit code of a command, whatever becomes of it, and of what it prints. `asked_to_end`: by which signals it
    was.
    """
    try:
        return _ended(command, asked_to_end)
    except BrokenPipeError:
        for stream in (sys.stdout, sys.stderr):
            _drop(stream)
        return UNREAD


def _ended(command: Callable[[], int], asked_to_end: Sequence[str]) -> int:
    try:
        code = command()
        sys.stdout.flush()
        return code
    except SystemExit:  # of the parser, which printed a help or the version
        sys.stdout.flush()
        raise
    except InputError as error:
        print(f"maxact: {error.worded(argument)}", file=sys.stderr)
        return USAGE
    except MaxactError as error:
        print(f"maxact: could not measure: {error.worded(argument)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        how = f"ended by {asked_to_end[0]}" if asked_to_end else "interrupted"
        print(f"maxact: {how} before it was done; no file was left half-written", file=sys.stderr)
        return ENDED if asked_to_end else INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        print(f"maxact: {brief(shown(str(error)))}", file=sys.stderr)
        _drop(sys.stdout)
        return FAILED


def _drop(stream: TextIO) -> None:
    """What is left to print, and cannot be, is not tried again at the end of the process."""
    with suppress(OSError):
        stream.flush()
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def command_line() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = CommandLine(
        prog="maxact",
        description="Maximum activations and low-bit reconstruction error of LLM checkpoints.",
        epilog=f"{ending('')}\n\nmaxact COMMAND --help tells what a command takes.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Command)
    for command in _COMMANDS:
        command.add(commands)
    return parser


class _Version(argparse.Action):
    """Asks the installation, and only when it is asked itself."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        from importlib.metadata import version

        print(f"maxact {version('pytest-maxact')}")
        parser.exit()
