"""`maxact suggest`: accepted Records go in, the limits that they suggest come out as a diff, or into a file. A person
runs it, and reviews what it says.
"""

import argparse
import sys
from pathlib import Path

from pytest_maxact.cli.arguments import Commands, add_command, add_json, add_options
from pytest_maxact.cli.exits import PASSED
from pytest_maxact.cli.output import print_json
from pytest_maxact.cli.words import as_typed
from pytest_maxact.errors import InputError, setting
from pytest_maxact.settings.places import place


def add(commands: Commands) -> None:
    parser = add_command(
        commands, "suggest", run, "propose limits from accepted Records, as a diff to review; refused in CI"
    )
    parser.add_argument(
        "records",
        metavar="RECORD",
        nargs="+",
        type=place,
        help="accepted Records; of those of one shape the limits cover the spread",
    )
    parser.add_argument(
        "--per-layer", action="store_true", help="a figure for every site, not only for every kind of site"
    )
    add_options(parser, ["limits", "update", "loosen"])
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.judge.series.order import short_name
    from pytest_maxact.judge.suggest.propose import propose
    from pytest_maxact.record.file import load
    from pytest_maxact.report.data.suggest import proposal_data
    from pytest_maxact.report.terminal.suggest import closing, harmless_diff
    from pytest_maxact.settings.surroundings import refuse_in_ci

    refuse_in_ci("maxact suggest")
    path = Path(options.limits) if options.limits else None
    if options.update and path is None:
        raise InputError(f"{setting('update')} writes limits, and {setting('limits')} FILE says where; give both")
    records = [load(record) for record in options.records]
    labels = [short_name(Path(record)) for record in options.records]
    proposal = propose(
        records,
        path,
        mode=options.update or "all",
        per_layer=options.per_layer,
        loosen=bool(options.loosen),
        labels=labels,
    )
    if options.update:
        proposal.write()
    if options.json:
        print_json(proposal_data(proposal))
    else:
        print(harmless_diff(proposal), end="")
    for line in closing(proposal, options.records, per_layer=options.per_layer, written=bool(options.update)):
        print(as_typed(line), file=sys.stderr)
    return PASSED
