"""`maxact merge`: Records of parts of one corpus go in, the Record of the whole comes out."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from pytest_maxact.cli.arguments import Commands, add_command, add_json, add_target
from pytest_maxact.cli.exits import PASSED
from pytest_maxact.cli.output import print_json
from pytest_maxact.errors import InputError, one_line
from pytest_maxact.numbers.counted import counted
from pytest_maxact.settings.places import place


def add(commands: Commands) -> None:
    parser = add_command(commands, "merge", run, "join Records of parts of one corpus")
    parser.add_argument("parts", metavar="RECORD", nargs="+", type=place, help="those of all parts, in any order")
    add_target(parser, "where the Record of the whole goes")
    add_json(parser, "print the Record of the whole, for a program")


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.record.file import RECORD, load, save
    from pytest_maxact.record.merge import merge
    from pytest_maxact.record.output import require_place

    require_place(Path(options.save), RECORD)
    _require_no_part(options.save, options.parts)
    record = merge(load(part, part=True) for part in options.parts)
    save(record, options.save)
    if options.json:
        from pytest_maxact.judge.portray import portray
        from pytest_maxact.judge.site_figures import figures_of
        from pytest_maxact.report.data.record import record_data

        print_json(record_data(portray(record), figures_of(record)))
    else:
        seen = f"{counted(len(record.provenance.samples), 'sample')}, {counted(record.tokens, 'token')}"
        print(one_line(f"{options.save}: {seen}, M {record.carrier.max_abs:.6g}"))
    return PASSED


def _require_no_part(target: str, parts: Sequence[str]) -> None:
    """Raise InputError where the whole would take the place of a part, which could not be merged again."""
    for part in parts:
        if os.path.exists(target) and os.path.exists(part) and os.path.samefile(target, part):
            raise InputError(f"{target} is one of the parts: the whole would take its place\n  write it elsewhere")
