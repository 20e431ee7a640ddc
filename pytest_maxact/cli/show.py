"""`maxact show`: a Record goes in, its figures come out, for a person or a program. It judges nothing."""

import argparse

from pytest_maxact.cli.arguments import Commands, add_command, add_json, add_record, add_verbose
from pytest_maxact.cli.exits import PASSED
from pytest_maxact.cli.output import print_json, screen


def add(commands: Commands) -> None:
    parser = add_command(commands, "show", run, "print a Record")
    add_record(parser)
    add_json(parser)
    add_verbose(parser)


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.judge.portray import portray
    from pytest_maxact.record.file import load

    record = load(options.replay, part=True)
    portrait = portray(record)
    if options.json:
        from pytest_maxact.judge.site_figures import figures_of
        from pytest_maxact.report.data.record import record_data

        print_json(record_data(portrait, figures_of(record)))
    else:
        from pytest_maxact.report.terminal.record import render_record

        print(render_record(portrait, screen(options.verbose)))
    return PASSED
