"""`maxact report`: Records go in, are judged as the gate does, and a page to look at comes out. No model is needed."""

import argparse
from pathlib import Path

from pytest_maxact.cli.arguments import JUDGING, RECORD, Commands, add_command, add_options, settings_of
from pytest_maxact.cli.exits import FAILED, PASSED
from pytest_maxact.cli.judge import outputs_of, told, written
from pytest_maxact.cli.output import screen
from pytest_maxact.settings.places import place
from pytest_maxact.settings.single import Single


def add(commands: Commands) -> None:
    parser = add_command(commands, "report", run, "make a page of Records, judged by their family's limits")
    parser.add_argument(
        "records",
        metavar="RECORD",
        nargs="+",
        type=place,
        help=f"{RECORD}; several are a series, whose names hold the step",
    )
    add_options(parser, [*JUDGING, "horizon", "json-report"])
    parser.add_argument(
        "-o",
        metavar="FILE",
        dest="html",
        required=True,
        type=place,
        action=Single,
        help="the page; a file there is replaced only where it is one",
    )


def run(options: argparse.Namespace) -> int:
    return told(options, _run)


def _run(options: argparse.Namespace) -> int:
    from pytest_maxact.gate.conclude import all_reported, conclude
    from pytest_maxact.gate.reports import ReportFiles, places_of, require_apart
    from pytest_maxact.gate.session import open_session
    from pytest_maxact.report.terminal.closing import render_closing

    options.replay = options.records[0]
    places = places_of(options)
    require_apart(outputs_of(places, options), Path.cwd())
    files = ReportFiles(places, options.replay, Path.cwd())
    session = open_session(settings_of(options), records=options.records)
    files.opened(session)
    files.begun()
    for subject in session.plan.subjects:
        session.judging.every(subject)
    outcome = written(session, conclude(session, all_reported(session)), files, options)
    print(render_closing(outcome, screen()))
    return PASSED if outcome.verdict and outcome.verdict.passed else FAILED
