"""Command lines that pytest would understand otherwise than they were meant."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from pytest_maxact.settings.option import PREFIX, pytest_option
from pytest_maxact.settings.options import OPTIONS


def refuse_unknown_options(parser: pytest.Parser, arguments: list[str]) -> None:
    """Pytest refuses an option that nobody knows; of one that was meant for the gate, say which it is. One dash makes
    it another option's value.
    """
    given, unknown = parser.parse_known_and_unknown_args(arguments)
    if given.help or given.version:
        return
    one_dash = [argument for argument in arguments if argument.startswith(f"-{PREFIX}")]
    if not unknown and not one_dash:
        return
    from pytest_maxact.settings.spelling import ours

    for argument in (*unknown, *one_dash):
        name = argument.split("=")[0]
        if (meant := ours(name, PREFIX, [option.field for option in OPTIONS])) is not None:
            close = f"; did you mean {pytest_option(meant)}?" if meant else ""
            raise pytest.UsageError(
                f"the gate has no option {name}{close}\n  `pytest --help` lists those of the gate under {PREFIX}"
            )


def refuse_settings_given_twice(config: pytest.Config) -> None:
    """Of two `-o maxact_model=...` pytest takes the last one unsaid."""
    seen: dict[str, str] = {}
    for entry in config.getoption("override_ini", None) or ():
        name, _, value = str(entry).partition("=")
        if name.startswith("maxact_") and seen.setdefault(name, value) != value:
            raise pytest.UsageError(f"-o {name} is given twice, as {seen[name]} and as {value}\n  give it once")


def refuse_separate_paths(config: pytest.Config) -> None:
    """Pytest looks for its configuration near every path on the command line, and takes `--maxact-model PATH` for one:
    refuse what leads it out of the directory it was started in, as the project's own ini file, and with it the
    project's limits, would be ignored.
    """
    arguments = [str(argument) for argument in config.invocation_params.args]
    here = config.invocation_params.dir.resolve()
    for name, value in pairwise(arguments):
        separate = (
            name.startswith("--maxact-") and "=" not in name and not value.startswith("-") and Path(value).exists()
        )
        if separate and here not in (path := Path(value).resolve(), *path.parents):
            raise pytest.UsageError(
                f"{name} {value}: pytest would read its configuration from there, not from {here}\n"
                f"  write {name}={value}"
            )


def refuse_checkpoints_as_tests(config: pytest.Config) -> None:
    """The shell expands a pattern that is not quoted: its first match would be gated, and the others taken for places
    of tests.
    """
    for argument in config.args if config.args_source is config.ArgsSource.ARGS else ():
        path = Path(argument)
        is_checkpoint = os.path.isfile(path / "config.json") and any(path.glob("*.safetensors"))
        if is_checkpoint or (os.path.isfile(path) and path.suffix == ".safetensors"):
            raise pytest.UsageError(
                f"{argument} is a {'checkpoint' if is_checkpoint else 'Record'}, and stands where tests are named, so "
                "it would not be gated\n"
                "  for a series quote the pattern: --maxact-model='runs/checkpoint-*'"
            )
