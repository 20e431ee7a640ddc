"""`maxact figures`: Records go in, figures for papers and cards come out, as files. It judges nothing: limits that
speak of a Record are drawn in, and where none do, that is said.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_maxact.cli.arguments import RECORD, Commands, add_command, add_options
from pytest_maxact.cli.exits import PASSED
from pytest_maxact.cli.series import stages_of
from pytest_maxact.cli.words import argument
from pytest_maxact.errors import InputError, MaxactError, first_line, one_line, worded
from pytest_maxact.settings.places import place
from pytest_maxact.settings.single import Single

if TYPE_CHECKING:
    from pytest_maxact.judge.verdict.finding import Finding
    from pytest_maxact.record.record import Record


def add(commands: Commands) -> None:
    parser = add_command(commands, "figures", run, "draw the figures of Records, as files for papers and cards")
    parser.add_argument(
        "records",
        metavar="RECORD",
        nargs="+",
        type=place,
        help=f"{RECORD}; several are a series, whose names hold the step",
    )
    parser.add_argument(
        "--format",
        choices=("png", "svg", "pdf"),
        default="png",
        metavar="png|svg|pdf",
        help="of the files (default: png)",
    )
    parser.add_argument(
        "--paper", action="store_true", help="the paper's own fifteen figures, redrawn with this model in them"
    )
    parser.add_argument(
        "-o", metavar="DIR", dest="folder", type=place, action=Single, help="the folder (default: figures)"
    )
    add_options(parser, ["limits", "family", "baseline"])


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.judge.figures.drawn import drawn_of
    from pytest_maxact.judge.series.order import short_name
    from pytest_maxact.record.file import load
    from pytest_maxact.record.output import require_writable_folder
    from pytest_maxact.report.figures.every import every_of
    from pytest_maxact.report.figures.figure import Figure
    from pytest_maxact.report.figures.paper.every import paper_figures
    from pytest_maxact.report.figures.printed import printed
    from pytest_maxact.report.libraries import DRAWING, require_libraries

    require_libraries("figures take", DRAWING)
    folder = Path(options.folder or "figures")
    require_writable_folder(folder, "the figures")
    several = len(options.records) > 1
    stages = stages_of([Path(record) for record in options.records]) if several else []
    record = stages[-1].record if stages else load(options.records[0], part=True)
    baselines = {short_name(Path(path)): load(path) for path in options.baseline or ()}
    findings = _findings(record, baselines, options)
    drawn = drawn_of(record, None, findings, baselines, stages)
    figures = paper_figures(drawn) if options.paper else every_of(drawn)
    files, lines = {}, list[str]()
    for one in figures:
        if not isinstance(one, Figure):
            print(f"{one.name} is not drawn: {worded(one.reason, argument)}", file=sys.stderr)
            continue
        for name, content in printed(one, options.format):
            files[name] = content
            lines.append(one_line(f"{folder / name}  {one.title}"))
    _write(folder, files)
    for line in lines:
        print(line)
    return PASSED


def _findings(record: "Record", baselines: "dict[str, Record]", options: argparse.Namespace) -> "Sequence[Finding]":
    """What limits say of it; of limits that were asked for, an error is one."""
    from pytest_maxact.judge.limits.file import load_limits
    from pytest_maxact.judge.verdict.verdict import verdict

    files = load_limits(Path(options.limits) if options.limits else None)
    try:
        return verdict(record, files, family=options.family, baselines=baselines)
    except MaxactError as error:
        if options.limits or options.family or baselines:
            raise
        print(f"drawn without limits: {worded(first_line(error), argument)}", file=sys.stderr)
        return ()


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """All of them, or none where one would take the place of another's file."""
    from pytest_maxact.record.output import require_place, unwritten, write_output
    from pytest_maxact.report.figures.printed import FIGURE

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            require_place(folder / name, FIGURE)
        for name, content in files.items():
            write_output(folder / name, content, FIGURE)
    except OSError as error:
        raise InputError(f"not all figures were written to {folder}: {unwritten(error)}") from error
