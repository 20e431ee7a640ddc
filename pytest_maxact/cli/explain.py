"""`maxact explain`: a name or an id that a run printed goes in, what it is and what to do about a breach comes out."""

import argparse

from pytest_maxact.cli.arguments import Commands, add_command, add_json
from pytest_maxact.cli.exits import PASSED
from pytest_maxact.cli.output import print_json, screen


def add(commands: Commands) -> None:
    parser = add_command(
        commands, "explain", run, "tell what a site, a metric or a scheme is, and what to do where a check of it fails"
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="a site, metric or scheme, or the id of a check as a run prints it (default: list all of them)",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.judge.explain.lookup import every, explain
    from pytest_maxact.report.data.explain import explained_data
    from pytest_maxact.report.terminal.explain import render_entries, render_list

    entries = list(every()) if options.name is None else explain(options.name)
    if options.json:
        print_json(explained_data(entries))
    elif options.name is None:
        print(render_list(entries, screen()))
    else:
        print(render_entries(entries, screen()))
    return PASSED
