"""`maxact series`: the Records of a training run go in, how they develop comes out, in the order of their steps."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_maxact.cli.arguments import Commands, add_command, add_json, add_options
from pytest_maxact.cli.exits import PASSED
from pytest_maxact.cli.output import print_json, screen
from pytest_maxact.errors import InputError
from pytest_maxact.settings.places import place

if TYPE_CHECKING:
    from pytest_maxact.judge.limits.limit import Limit
    from pytest_maxact.judge.series.trend import Stage
    from pytest_maxact.record.record import Record


def add(commands: Commands) -> None:
    parser = add_command(
        commands, "series", run, "print how the Records of a training run develop, checkpoint by checkpoint"
    )
    parser.add_argument(
        "records",
        metavar="RECORD",
        nargs="+",
        type=place,
        help="files whose names hold the training step, as checkpoint-500.maxact.safetensors",
    )
    add_options(parser, ["limits", "family", "horizon"])
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.judge.series.series import series_of
    from pytest_maxact.report.data.series import series_data
    from pytest_maxact.report.terminal.series import render_series

    stages = stages_of([Path(record) for record in options.records])
    limits = _limits(stages[-1].record, options) if options.horizon is not None else ()
    series = series_of(stages, limits, options.horizon)
    if options.json:
        print_json(series_data(series))
    else:
        print(render_series(series, screen()))
    return PASSED


def stages_of(paths: Sequence[Path]) -> "list[Stage]":
    """The Records in their order. Raises InputError where they are not of one run."""
    from pytest_maxact.judge.series.order import in_order
    from pytest_maxact.judge.series.trend import Stage
    from pytest_maxact.record.comparability import require_alike
    from pytest_maxact.record.file import load

    members = in_order(paths, "the list")
    stages = [Stage(name=member.name, step=member.step, record=load(member.path)) for member in members]
    for stage in stages[1:]:
        require_alike(stages[0].record, stage.record)
        if stage.record.sites.keys() != stages[0].record.sites.keys():
            raise InputError(
                f"{stage.name} and {stages[0].name} have other sites: a series is one run of one architecture\n"
                "  leave one of them out"
            )
    return stages


def _limits(last: "Record", options: argparse.Namespace) -> "Sequence[Limit]":
    """Those that the growth of the last one is held against."""
    from pytest_maxact.judge.limits.file import load_limits
    from pytest_maxact.judge.limits.rules import select_rules
    from pytest_maxact.record.identity import identity_of

    files = load_limits(Path(options.limits) if options.limits else None)
    sites = [reading.site for reading in last.sites.values()]
    return select_rules(files, identity_of(last.provenance), sites, options.family).limits
