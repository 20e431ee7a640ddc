"""`maxact card`: a Record goes in, what the gate finds of it is written into a model card, or into a bill of materials.
A FAIL is written as one.
"""

import argparse
from pathlib import Path

from pytest_maxact.cli.arguments import JUDGING, Commands, add_command, add_options, add_record, settings_of
from pytest_maxact.cli.exits import FAILED, PASSED
from pytest_maxact.cli.judge import outputs_of, told, written
from pytest_maxact.errors import InputError, one_line, setting
from pytest_maxact.settings.places import place
from pytest_maxact.settings.single import Single


def add(commands: Commands) -> None:
    parser = add_command(commands, "card", run, "write what the gate finds of a Record into a model card")
    add_record(parser)
    parser.add_argument(
        "-o", "--card", metavar="FILE", type=place, action=Single, help="the card, README.md beside the weights"
    )
    add_options(parser, [*JUDGING, "bom"])


def run(options: argparse.Namespace) -> int:
    return told(options, _run)


def _run(options: argparse.Namespace) -> int:
    from pytest_maxact.gate.conclude import all_reported, conclude
    from pytest_maxact.gate.reports import ReportFiles, places_of, require_apart
    from pytest_maxact.gate.session import open_session
    from pytest_maxact.judge.series.order import is_pattern
    from pytest_maxact.report.terminal.verdict import headline

    if is_pattern(options.replay):
        raise InputError(f"maxact card takes one Record, and {options.replay} is a pattern\n  give one file")
    if not places_of(options):
        raise InputError(f"nothing was asked for\n  give -o README.md, {setting('bom')} FILE, or both")
    require_apart(outputs_of(places_of(options), options), Path.cwd())
    files = ReportFiles(places_of(options), options.replay, Path.cwd())
    session = open_session(settings_of(options))
    files.opened(session)
    files.begun()
    session.judging.every(session.plan.latest)
    outcome = written(session, conclude(session, all_reported(session)), files, options)
    for line in headline(outcome.verdict) if outcome.verdict else ():
        print(one_line(line.plain))
    return PASSED if outcome.verdict and outcome.verdict.passed else FAILED
