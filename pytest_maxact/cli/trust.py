"""`maxact trust`: Records go in, how far their figures can be trusted comes out. No model is needed, and nothing is
judged.
"""

import argparse

from pytest_maxact.cli.arguments import RECORD, Commands, add_command, add_json
from pytest_maxact.cli.exits import PASSED
from pytest_maxact.cli.output import print_json, screen
from pytest_maxact.settings.places import place


def add(commands: Commands) -> None:
    parser = add_command(commands, "trust", run, "tell how far the figures of Records can be trusted")
    parser.add_argument("records", metavar="RECORD", nargs="+", type=place, help=RECORD)
    parser.add_argument(
        "--paper-bootstrap",
        action="store_true",
        help="M of category-proportional subsets of 1 000 and 2 000 samples, five of each, as the paper has them",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.record.file import load

    records = [load(path) for path in options.records]
    if options.paper_bootstrap:
        from pytest_maxact.judge.trust.subsets import paper_bootstrap
        from pytest_maxact.report.data.trust import subsets_data
        from pytest_maxact.report.terminal.trust import render_subsets

        tables = [(record.provenance.model, paper_bootstrap(record)) for record in records]
        if options.json:
            print_json([row for model, rows in tables for row in subsets_data(model, rows)])
        else:
            print("\n".join(render_subsets(model, rows, screen()) for model, rows in tables))
        return PASSED
    from pytest_maxact.judge.trust.trust import trust_of
    from pytest_maxact.report.data.trust import trust_data
    from pytest_maxact.report.terminal.trust import render_trust

    found = [trust_of(record) for record in records]
    if options.json:
        print_json([trust_data(one) for one in found])
    else:
        print("\n".join(render_trust(one, screen()) for one in found))
    return PASSED
