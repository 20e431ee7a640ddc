"""`maxact lint`: a checkpoint goes in, what is wrong with its tensors comes out; nothing is loaded."""

import argparse
from pathlib import Path

from pytest_maxact.cli.arguments import Commands, add_command, add_json
from pytest_maxact.cli.exits import FAILED, PASSED
from pytest_maxact.cli.output import print_json, screen
from pytest_maxact.cli.words import argument
from pytest_maxact.settings.places import place


def add(commands: Commands) -> None:
    parser = add_command(
        commands, "lint", run, "look at the tensors of a quantized checkpoint for what breaks it; loads nothing"
    )
    parser.add_argument(
        "model", metavar=argument("model"), type=place, help="a checkpoint's folder, a *.safetensors or a *.gguf file"
    )
    parser.add_argument(
        "--strict", action="store_true", help="read every code, however many there are, and let remarks count"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from pytest_maxact.checkpoint.lint.look import READ_AT_MOST, lint
    from pytest_maxact.errors import InputError
    from pytest_maxact.record.file import metadata_of
    from pytest_maxact.report.data.lint import lint_data
    from pytest_maxact.report.terminal.lint import render_lint

    path = Path(options.model)
    if metadata_of(path):
        raise InputError(f"{path}: a Record, and no weights\n  give the checkpoint; `maxact judge` takes a Record")
    found = lint(path, codes=None if options.strict else READ_AT_MOST)
    if options.json:
        print_json(lint_data(found))
    else:
        print(render_lint(options.model, found, screen()))
    return FAILED if found.red or (options.strict and found.counts) else PASSED
