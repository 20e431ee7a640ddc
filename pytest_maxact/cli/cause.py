"""`maxact cause`: a checkpoint goes in, the weight entries that write its massive channels come out."""

import argparse
import contextlib

from pytest_maxact.checkpoint.libraries import TORCH, needed
from pytest_maxact.cli.arguments import Commands, add_command, add_json, add_model, add_options, settings_of
from pytest_maxact.cli.exits import PASSED
from pytest_maxact.cli.output import display, print_json, screen
from pytest_maxact.settings.options import OPTIONS

_NOT_HERE = (
    "model",
    "save",
    "slim",
    "cache",
    "resume",
    "shard",
    "until-saturated",
    "stress",
    "effect",
    "sites",
    "hunt",
    "hunt-seconds",
    "hunt-out",
)


def add(commands: Commands) -> None:
    parser = add_command(
        commands, "cause", run, "find the weight entries that write massive channels, and prove it without them"
    )
    add_model(parser, "a checkpoint's folder, or a hub id")
    names = [option.name for option in OPTIONS if option.measures and option.name not in _NOT_HERE]
    add_options(parser, names)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.report.data.cause import causes_data
    from pytest_maxact.report.terminal.cause import render_causes

    with needed(*TORCH):
        from pytest_maxact.measure.cause.command import causes

    settings, progress = settings_of(options), display()
    with contextlib.closing(progress):
        found = causes(settings, progress)
    if options.json:
        print_json(causes_data(found))
    else:
        print(render_causes(found, screen()))
    return PASSED
