"""`maxact judge`: a Record goes in, the verdict by its family's limits comes out, as the gate gives it."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_maxact.cli.arguments import (
    JUDGING,
    Commands,
    Run,
    add_command,
    add_json,
    add_junit,
    add_options,
    add_record,
    add_verbose,
    settings_of,
)
from pytest_maxact.cli.exits import FAILED, PASSED
from pytest_maxact.cli.output import screen
from pytest_maxact.cli.words import argument
from pytest_maxact.errors import InputError, MaxactError, one_line, setting, uncommanded_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_maxact.gate.reports import ReportFiles
    from pytest_maxact.gate.session import GateSession
    from pytest_maxact.judge.account import Account
    from pytest_maxact.judge.outcome import Outcome


def add(commands: Commands) -> None:
    parser = add_command(commands, "judge", run, "judge a Record by its family's limits")
    add_record(parser)
    written = ("verdict", "json-report", "html", "sarif", "codequality", "card", "bom", "github")
    add_options(parser, [*JUDGING, *written])
    add_junit(parser)
    add_json(parser, f"print what {argument('json_report')} writes")
    add_verbose(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="the verdict in a line")


def run(options: argparse.Namespace) -> int:
    return told(options, _run)


def told(options: argparse.Namespace, command: Run) -> int:
    """A command that gives a verdict; where it comes to none, a runner of GitHub's kind is told so. What fails after
    the runner was told the verdict, as to print it once more, takes nothing back.
    """
    from pytest_maxact.gate.github import AUTO, is_asked, refused

    try:
        return command(options)
    except BaseException as error:
        if is_asked(getattr(options, "github", None) or AUTO) and not getattr(options, "is_told", False):
            broken = f"the command was broken off ({type(error).__name__})"
            why = error.worded(argument) if isinstance(error, MaxactError) else broken
            print(*refused(why), sep="\n", file=sys.stderr)
        raise


def _run(options: argparse.Namespace) -> int:
    from pytest_maxact.gate.conclude import all_reported, conclude
    from pytest_maxact.gate.reports import ReportFiles, places_of, require_apart
    from pytest_maxact.gate.session import open_session
    from pytest_maxact.gate.stating import VerdictFile
    from pytest_maxact.judge.series.order import is_pattern
    from pytest_maxact.report.data.run.text import run_json
    from pytest_maxact.report.terminal.brief import render_brief
    from pytest_maxact.report.terminal.closing import render_closing
    from pytest_maxact.report.terminal.outcome import render_outcome

    places = places_of(options)
    outputs = places | ({"verdict": options.verdict} if options.verdict else {})
    require_apart(outputs_of(outputs, options), Path.cwd())
    verdict = VerdictFile(Path(options.verdict), options.replay) if options.verdict else None
    files = ReportFiles(places, options.replay, Path.cwd())
    settings = settings_of(options)
    if is_pattern(options.replay):
        raise InputError(
            f"maxact judge takes one Record, and {options.replay} is a pattern\n  give one file; pytest judges a series"
        )
    session = open_session(settings)
    if verdict:
        verdict.opened(session)
    files.opened(session)
    files.begun()
    session.judging.every(session.plan.latest)
    tighten = shlex.join(["maxact", "suggest", options.replay, "--limits", options.limits or "FILE", "--update", "all"])
    outcome = written(session, conclude(session, all_reported(session), tighten), files, options)
    if options.json:
        print(uncommanded_json(run_json(_account(session, outcome, files))), end="")
    elif options.quiet:
        print(render_brief(outcome, screen()))
    else:
        print(render_outcome(outcome, screen(options.verbose)), "", render_closing(outcome, screen()), sep="\n")
    if verdict:
        try:
            print(one_line(f"maxact: {verdict.finish(session, outcome, (), argument)}"), file=sys.stderr)
        except MaxactError as error:
            print(f"maxact: the verdict was not written: {error.worded(argument)}", file=sys.stderr)
            return FAILED
    return PASSED if outcome.verdict and outcome.verdict.passed else FAILED


def outputs_of(places: "Mapping[str, str]", options: argparse.Namespace) -> dict[str, str]:
    """Every place that a command writes to, by what asks for it; the summary of a step on a runner is one."""
    from pytest_maxact.gate.github import AUTO, summary_place

    asked = {setting(field): place for field, place in places.items()}
    return asked | summary_place(getattr(options, "github", None) or AUTO)


def written(session: "GateSession", outcome: "Outcome", files: "ReportFiles", options: argparse.Namespace) -> "Outcome":
    """Write the files that were asked for, and tell a runner of GitHub's kind; the outcome with what could not be
    written.
    """
    from pytest_maxact.gate.account import note_all
    from pytest_maxact.gate.github import is_asked, tell
    from pytest_maxact.gate.reports import faulty

    note_all(session)
    faults = files.write(_account(session, outcome, files))
    for line in files.written:
        print(one_line(f"maxact: {line}"), file=sys.stderr)
    outcome = faulty(outcome, faults)
    if is_asked(session.settings.github):
        lines = tell(_account(session, outcome, files))
        options.is_told = True
        print(*lines, sep="\n", end="\n" if lines else "", file=sys.stderr)
    return outcome


def _account(session: "GateSession", outcome: "Outcome", files: "ReportFiles") -> "Account":
    from pytest_maxact.gate.account import account_of
    from pytest_maxact.gate.reports import repository

    return account_of(session, outcome, (), argument, repository(files.root))
