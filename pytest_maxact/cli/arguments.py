"""What commands take: options of the one table, what stands in their place, and the settings that come of it."""

import argparse
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

from pytest_maxact.cli.examples import ending
from pytest_maxact.cli.words import argument, as_typed
from pytest_maxact.settings.option import Option
from pytest_maxact.settings.options import OPTIONS
from pytest_maxact.settings.places import place
from pytest_maxact.settings.resolve import resolve
from pytest_maxact.settings.settings import Settings
from pytest_maxact.settings.single import Single

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run = Callable[[argparse.Namespace], int]

RECORD = "a file written by `maxact measure` or by pytest"
JUDGING = ("limits", "family", "deploy", "baseline", "source", "strict", "close")
"""Options that a verdict on a Record depends on: every command that gives one takes them all, or one that publishes it
would say PASS where the gate said FAIL.
"""


def add_command(commands: Commands, name: str, run: Run, does: str) -> argparse.ArgumentParser:
    """A command that `run` carries out."""
    parser = commands.add_parser(
        name,
        help=does,
        description=f"{does[:1].upper()}{does[1:]}.",
        epilog=ending(name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_model(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("model", metavar=argument("model"), type=place, help=what)


def add_record(parser: argparse.ArgumentParser, what: str = RECORD) -> None:
    parser.add_argument("replay", metavar=argument("replay"), type=place, help=what)


def add_target(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("-o", "--save", metavar="FILE", required=True, type=place, action=Single, help=what)


def add_verbose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-v", "--verbose", action="store_true", help="a row for every site of every layer")


def add_json(parser: argparse.ArgumentParser, what: str = "for a program") -> None:
    parser.add_argument("--json", action="store_true", help=what)


def add_junit(parser: argparse.ArgumentParser) -> None:
    """No option of the table: pytest writes such a file itself."""
    what = "write every check as a test case to FILE, as the file of JUnit that pytest writes of a gate has them"
    parser.add_argument("--junit", metavar="FILE", type=place, action=Single, help=what)


def add_options(parser: argparse.ArgumentParser, names: Collection[str]) -> None:
    """Options by their names, in the order of the table."""
    for option in OPTIONS:
        if option.name in names:
            meaning = as_typed(option.help).replace("%", "%%")
            parser.add_argument(f"--{option.name}", dest=option.field, help=meaning, **_how(option))


def settings_of(options: argparse.Namespace) -> Settings:
    """What was asked for. Raises InputError for what excludes each other."""
    return resolve({option.field: getattr(options, option.field, None) for option in OPTIONS})


def _how(option: Option) -> dict[str, Any]:
    if option.is_flag:
        return {"action": "store_true", "default": None}
    return {"action": "append" if option.repeatable else Single, "type": option.parse, "metavar": option.metavar}
