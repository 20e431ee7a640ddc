"""`maxact compare`: two Records go in, what changed from one to the other comes out."""

import argparse

from pytest_maxact.cli.arguments import Commands, add_command, add_json
from pytest_maxact.cli.exits import PASSED
from pytest_maxact.cli.output import print_json, screen
from pytest_maxact.settings.places import place


def add(commands: Commands) -> None:
    parser = add_command(commands, "compare", run, "print what changed from one Record to another")
    parser.add_argument("before", metavar="OLD", type=place, help="the Record of the checkpoint before")
    parser.add_argument("after", metavar="NEW", type=place, help="the Record of the one after it, measured alike")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.judge.compare.comparison import compare
    from pytest_maxact.record.file import load
    from pytest_maxact.report.data.compare import comparison_data
    from pytest_maxact.report.terminal.compare import render_comparison

    comparison = compare(load(options.before), load(options.after))
    if options.json:
        print_json(comparison_data(comparison))
    else:
        print(render_comparison(comparison, screen()))
    return PASSED
