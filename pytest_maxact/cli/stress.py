"""`maxact stress`: a checkpoint goes in, how much worse inputs there are than those of its corpus comes out."""

import argparse
import sys
from pathlib import Path

from pytest_maxact.checkpoint.libraries import TORCH, needed
from pytest_maxact.cli.arguments import Commands, add_command, add_json, add_model, add_options, settings_of
from pytest_maxact.cli.exits import FAILED, PASSED
from pytest_maxact.cli.output import display, print_json, screen
from pytest_maxact.errors import one_line
from pytest_maxact.settings.options import OPTIONS
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
    "sites",
    "schemes",
    "effect",
    "hunt",
    "hunt-seconds",
    "hunt-out",
)


def add(commands: Commands) -> None:
    parser = add_command(commands, "stress", run, "try inputs that no corpus has, and say how far above it they reach")
    add_model(parser, "a checkpoint's folder, or a hub id")
    parser.add_argument("-o", "--save", metavar="FILE", type=place, action=Single, help="also keep the Record of both")
    add_options(parser, [option.name for option in OPTIONS if option.measures and option.name not in _NOT_HERE])
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Fails where an entry is NaN or infinite, of the stress set or of the corpus."""
    from pytest_maxact.judge.trust.stress import stress_figures
    from pytest_maxact.record.file import RECORD, put
    from pytest_maxact.record.output import require_place
    from pytest_maxact.record.record import STRESSED
    from pytest_maxact.report.data.stress import stress_data
    from pytest_maxact.report.terminal.stress import render_stress

    with needed(*TORCH):
        from pytest_maxact.measure.prepare import prepare
        from pytest_maxact.measure.run import measure

    options.stress = True
    settings = settings_of(options)
    checkpoint = [Path(settings.model or "")]
    if settings.save:
        require_place(Path(settings.save), RECORD, checkpoint)
    prepared, progress = prepare(settings), display()
    try:
        record = measure(prepared, settings, None, progress)
    finally:
        progress.close()
    if settings.save:
        put(record, Path(settings.save), checkpoint)
    figures = stress_figures(record)
    if figures is None:
        print(one_line(f"maxact: could not be tried: {record.untried[STRESSED]}"), file=sys.stderr)
        return FAILED
    if options.json:
        print_json(stress_data(figures))
    else:
        print(render_stress(figures, screen()))
    return FAILED if figures.broken or figures.corpus_broken else PASSED
