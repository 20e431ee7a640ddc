"""`maxact sites`: a checkpoint or a config goes in, the map of what is observed in it comes out; no weights load."""

import argparse

from pytest_maxact.checkpoint.libraries import TORCH, needed
from pytest_maxact.cli.arguments import Commands, add_command, add_json, add_model, add_options, settings_of
from pytest_maxact.cli.exits import PASSED
from pytest_maxact.cli.output import print_json, screen


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "sites",
        run,
        "print what of a model is observed, in which module, and what is left out; loads no weights",
    )
    add_model(parser, "a checkpoint's folder, its config.json, or a hub id")
    add_options(parser, ["revision", "trust-remote-code", "sites"])
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.report.data.sites import sites_data
    from pytest_maxact.report.terminal.sites import render_sites

    with needed(*TORCH):
        from pytest_maxact.checkpoint.load import skeleton
        from pytest_maxact.checkpoint.locate import locate
        from pytest_maxact.checkpoint.sites.anatomy import site_map
        from pytest_maxact.measure.scaled import observed

    settings = settings_of(options)
    checkpoint = locate(settings, weights=False)
    mapped = site_map(observed(skeleton(checkpoint).body, checkpoint, settings), checkpoint.config.model_type)
    if options.json:
        print_json(sites_data(mapped))
    else:
        print(render_sites(mapped, screen()))
    return PASSED
