"""`maxact verify`: the verdict of a run and an artifact go in; whether a release of it may rest on that verdict comes
out, as words and as the exit code.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_maxact.cli.arguments import Commands, add_command, add_json, add_model
from pytest_maxact.cli.exits import FAILED, PASSED
from pytest_maxact.cli.output import print_json
from pytest_maxact.errors import one_line
from pytest_maxact.settings.parsers import positive_number
from pytest_maxact.settings.places import place
from pytest_maxact.settings.settings import Settings
from pytest_maxact.settings.single import Single
from pytest_maxact.settings.userfiles import unreadable

if TYPE_CHECKING:
    from pytest_maxact.judge.statement.schema import Details


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "verify",
        run,
        "exit with 0 only where a verdict is a whole PASS of this very artifact; loads no model",
    )
    parser.add_argument(
        "verdict", metavar="VERDICT", type=place, help="the verdict file that a run of the gate wrote, or maxact judge"
    )
    add_model(parser, "the artifact: a checkpoint's folder, or a hub id")
    parser.add_argument(
        "--revision", metavar="REV", action=Single, help="of a hub id (default: the one that was judged)"
    )
    parser.add_argument("--no-waivers", action="store_true", help="accept no check that is waived")
    parser.add_argument(
        "--limits",
        metavar="FILE",
        type=place,
        action="append",
        default=[],
        help="demand that it was judged by this file as it is now",
    )
    parser.add_argument(
        "--baseline",
        metavar="RECORD",
        type=place,
        action="append",
        default=[],
        help="demand that it was compared with this Record",
    )
    parser.add_argument(
        "--max-age", metavar="DAYS", type=positive_number, action=Single, help="accept no verdict older than this"
    )
    parser.add_argument(
        "--min-tokens", metavar="N", type=positive_number, action=Single, help="accept no verdict on fewer tokens"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.gate.verifying import Demands, objections
    from pytest_maxact.judge.statement.seal import read

    statement = read(Path(options.verdict))
    details = statement.predicate.details
    settings = Settings(
        model=options.model,
        revision=options.revision or next((one.revision for one in details.checkpoints if one.revision), None),
        trust_remote_code=details.settings.get("trust_remote_code") == "True",
    )
    demands = Demands(
        waivers=not options.no_waivers,
        limits=options.limits,
        baselines=options.baseline,
        max_age=options.max_age,
        min_tokens=options.min_tokens,
    )
    try:
        found = objections(statement, _folder(settings), demands)
    except OSError as error:
        raise unreadable(Path(str(error.filename)), error) from error
    checks = [check for one in details.checkpoints for check in one.checks]
    waivers = [f"{one.site} {one.metric} until {one.until} by {one.owner}: {one.reason}" for one in details.waivers]
    if options.json:
        data = {"schema": 1, "verified": not found, "objections": found, "checks": len(checks), "waivers": waivers}
        print_json({**data, "settings": details.settings})
        return FAILED if found else PASSED
    for objection in found:
        print(one_line(f"NOT VERIFIED: {objection}"))
    if not found:
        print(one_line(f"VERIFIED: {_held(details, options.model)}, made {statement.predicate.time_verified}"))
    for waiver in waivers:
        print(one_line(f"waived: {waiver}"))
    print(one_line(f"limits: {', '.join(one.uri for one in details.limits) or 'none'}"))
    stated = ", ".join(f"{name} {value}" for name, value in details.settings.items())
    print(one_line(f"settings: {stated or 'defaults'}"))
    return FAILED if found else PASSED


def _held(details: "Details", model: str) -> str:
    """What holds of a whole PASS, and what was let pass: of a series, that of all its checkpoints."""
    outcomes = [check.outcome for one in details.checkpoints for check in one.checks]
    held, among = outcomes.count("held"), len(details.checkpoints)
    many = f"all {held}" if held == len(outcomes) > 1 else f"{held} of {len(outcomes)}"
    which = "the one check" if len(outcomes) == 1 else f"{many} checks"
    of = model if among == 1 else f"{among} checkpoints, {model} among them,"
    waived = outcomes.count("waived")
    beside = f", {waived} {'is' if waived == 1 else 'are'} waived" if waived else ""
    return f"{which} of {of} {'holds' if held == 1 else 'hold'}{beside}"


def _folder(settings: Settings) -> Path:
    from pytest_maxact.checkpoint.libraries import needed
    from pytest_maxact.checkpoint.no_model import no_folder

    path = Path(str(settings.model))
    if path.is_dir():
        return path
    if path.exists():
        raise no_folder(path, weights=True)
    with needed("huggingface_hub"):
        from pytest_maxact.checkpoint.locate import fetch
    return fetch(str(settings.model), settings, weights=True)
