"""`maxact hunt`: a checkpoint and sites go in, the worst inputs that a search found come out, as a corpus file."""

import argparse
import contextlib
import sys
from pathlib import Path

from pytest_maxact.checkpoint.libraries import TORCH, needed
from pytest_maxact.cli.arguments import Commands, add_command, add_json, add_model, add_options, settings_of
from pytest_maxact.cli.exits import FAILED, PASSED
from pytest_maxact.cli.output import display, print_json, screen
from pytest_maxact.errors import one_line
from pytest_maxact.settings.options import OPTIONS
from pytest_maxact.settings.parsers import positive_number
from pytest_maxact.settings.places import place
from pytest_maxact.settings.single import Single

_NOT_HERE = (
    "model",
    "save",
    "slim",
    "cache",
    "resume",
    "shard",
    "until-saturated",
    "stress",
    "schemes",
    "effect",
    "hunt",
    "hunt-seconds",
    "hunt-out",
)
_SECONDS = 300


def add(commands: Commands) -> None:
    parser = add_command(commands, "hunt", run, "search for inputs that reach more than the corpus does")
    add_model(parser, "a checkpoint's folder, or a hub id")
    parser.add_argument(
        "hunted",
        metavar="SITE",
        nargs="*",
        help="sites to search at, by turns (default: carrier, which holds M)",
    )
    parser.add_argument(
        "-o", "--out", metavar="FILE", type=place, action=Single,
        help="where the worst inputs go, as a corpus file of JSON lines",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", metavar="N", type=positive_number, action=Single,
        help=f"how long to search (default {_SECONDS}, without --evaluations)",
    )  # fmt: skip
    parser.add_argument(
        "--evaluations", metavar="N", type=positive_number, action=Single,
        help="how many sequences to run at most; a search of so many gives the same every time",
    )  # fmt: skip
    parser.add_argument(
        "--state",
        metavar="FILE",
        type=place,
        action=Single,
        help="where the search stands, and goes on from if asked again",
    )
    names = [option.name for option in OPTIONS if option.measures and option.name not in _NOT_HERE]
    add_options(parser, names)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Fails where an input was found that is not finite, or the corpus has one."""
    from pytest_maxact.record.hunt import FINDS, corpus_of
    from pytest_maxact.record.output import require_place, write_output
    from pytest_maxact.report.data.hunt import hunt_data
    from pytest_maxact.report.terminal.hunt import render_hunt

    with needed(*TORCH):
        from pytest_maxact.measure.hunt.state import STATE
        from pytest_maxact.measure.hunted import hunted

    settings = settings_of(options)
    apart = [Path(settings.model or "")]
    if options.out:
        require_place(Path(options.out), FINDS, apart)
    if options.state:
        require_place(Path(options.state), STATE, apart)
    seconds = options.seconds or (None if options.evaluations else _SECONDS)
    progress = display()
    with contextlib.closing(progress):
        found, tokenizer, broken = hunted(
            settings, options.hunted, evaluations=options.evaluations, seconds=seconds,
            state_file=Path(options.state) if options.state else None, progress=progress,
        )  # fmt: skip
    if options.out:
        write_output(Path(options.out), corpus_of(found, tokenizer), FINDS, apart)
    if options.json:
        print_json(hunt_data(found))
    else:
        print(render_hunt(found, screen()))
    if broken:
        others = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        print(one_line(f"maxact: NaN or infinite on the corpus at {broken[0]}{others}"), file=sys.stderr)
    return FAILED if broken or any(one.found == float("inf") for one in found) else PASSED
