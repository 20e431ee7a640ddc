"""`maxact plan`: a checkpoint or a config goes in, where it would live, what that takes and how long it lasts come out;
nothing is loaded.
"""

import argparse

from pytest_maxact.checkpoint.libraries import TORCH, needed
from pytest_maxact.cli.arguments import Commands, add_command, add_json, add_model, add_options, settings_of
from pytest_maxact.cli.exits import FAILED, PASSED
from pytest_maxact.cli.output import print_json, screen
from pytest_maxact.settings.single import Single

_OPTIONS = (
    "revision", "weights", "dtype", "device", "arithmetic", "trust-remote-code", "corpus", "max-samples", "max-tokens",
    "max-seq-len", "batch-tokens", "protocol", "sites", "schemes", "effect",
)  # fmt: skip


def add(commands: Commands) -> None:
    parser = add_command(
        commands, "plan", run, "print where a model would live, what it needs and how long it takes; loads no weights"
    )
    add_model(parser, "a checkpoint's folder, its config.json, or a hub id")
    add_options(parser, _OPTIONS)
    parser.add_argument(
        "--devices", metavar="DEVICES", action=Single,
        help="plan for these, as in cpu:16GiB,cuda:80GiB or cuda*8:80GiB (default: those of this machine)",
    )  # fmt: skip
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.report.data.plan import plan_data
    from pytest_maxact.report.terminal.plan import render_plan

    with needed(*TORCH):
        from pytest_maxact.checkpoint.placement.rooms import rooms, stated
        from pytest_maxact.measure.foresee import foreseen

    settings = settings_of(options)
    plan = foreseen(settings, stated(options.devices) if options.devices else rooms())
    if options.json:
        print_json(plan_data(plan))
    else:
        print(render_plan(plan, screen()))
    return FAILED if plan.against else PASSED
