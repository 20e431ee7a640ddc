"""Parsers of the command line: what is wrong with one ends with the exit code of a bad request, and a command or an
option that is misspelt is told with the one that was probably meant.
"""

import argparse
import sys
from collections.abc import Iterable
from itertools import pairwise, takewhile
from typing import Any, NoReturn

from pytest_maxact.cli.exits import USAGE
from pytest_maxact.errors import one_line
from pytest_maxact.settings.spelling import did_you_mean

_GITHUB = "--github"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, one_line(f"{self.prog}: error: {message}") + "\n")

    def refuse_unknown(self, arguments: Iterable[str]) -> None:
        """End with the first option that this parser has not, neither in full nor in part."""
        known = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        for name in (argument.split("=")[0] for argument in takewhile(lambda argument: argument != "--", arguments)):
            if name.startswith("--") and not any(option.startswith(name) for option in known):
                self.error(f"there is no option {name}{did_you_mean(name, known)}")


class CommandLine(_Parser):
    """`maxact`: the first argument that is no option names a command."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        if not given:
            self.print_help(sys.stderr)
            self.exit(USAGE)
        self.refuse_unknown(takewhile(lambda argument: argument.startswith("-"), given))
        known = [name for action in self._actions for name in action.choices or ()]
        name = next((argument for argument in given if not argument.startswith("-")), None)
        if name is not None and name not in known:
            hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
            self.error(f"there is no command {name}{hint}")
        return super().parse_known_args(given, namespace)


class Command(_Parser):
    """One command of it, which knows its own options. What one refuses that has a verdict for a runner of GitHub's kind
    is told there too.
    """

    _typed: tuple[str, ...] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._typed = tuple(args or ())
        self.refuse_unknown(self._typed)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if _GITHUB in self._option_string_actions:
            from pytest_maxact.gate.github import AUTO, OFF, is_asked, refused

            is_off = f"{_GITHUB}={OFF}" in self._typed or (_GITHUB, OFF) in pairwise(self._typed)
            if is_asked(OFF if is_off else AUTO):
                print(*refused(f"{self.prog}: {message}"), sep="\n", file=sys.stderr)
        super().error(message)
