"""What the README and the docs show is run: Python, limits files, configuration, and every command of pytest and
maxact, which either runs on prepared Records or is at least understood by the real parsers.

A block that cannot run says why, in a comment before it: `<!-- not run: ... -->`.
"""

import glob
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.run import get_args_parser

from pytest_maxact.cli import main
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.settings.ini import Written
from pytest_maxact.settings.options import OPTIONS
from pytest_maxact.settings.resolve import resolve
from tests.support import tiny, training
from tests.support.markdown import Block, blocks, commands_of

SHOWN = {"text", "diff", "mermaid"}
"""Languages of what is shown and not run: output, changes, pictures."""
NOT_RUN = 5
ELSEWHERE = ("readme: ", "case: ", "given: ray")
"""What is said of blocks that tests of their own run."""
INTERRUPTED = 130
SHELL = {
    *("python3", "pip", "git", "cp", "head", "tail", "pre-commit"),
    *("ruff", "mypy", "lint-imports", "python", "source"),
}
"""Commands beside ours that the docs may use; they are not run."""
FAST = {
    *("card", "show", "judge", "compare", "series", "suggest", "sites", "merge", "export", "weights", "verify"),
    "figures",
    "report",
}
"""Commands that run on prepared Records or on a small checkpoint; `measure` is only parsed."""


def runnable(*languages: str) -> list[Any]:
    return [
        pytest.param(block, id=block.name)
        for block in blocks(*languages)
        if not block.reason_not_to_run and not block.said.startswith(ELSEWHERE)
    ]


def test_every_block_says_its_language() -> None:
    known = SHOWN | {"python", "yaml", "toml", "bash"}
    assert [block.name for block in blocks() if block.language not in known] == []


def test_blocks_that_cannot_run_are_few_and_say_why() -> None:
    assert [block.name for block in blocks() if block.said == "not run"] == []
    assert len([block for block in blocks() if block.reason_not_to_run]) == NOT_RUN


@pytest.mark.parametrize("block", runnable("python"))
def test_python(block: Block, here: Path, pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    is_conftest, is_test = "def pytest_" in block.text, "def test_" in block.text
    if not (is_conftest or is_test):
        exec(compile(block.text, block.name, "exec"), given(block, here))
        return
    (here / ("conftest.py" if is_conftest else "test_shown.py")).write_text(block.text)
    gated = "--maxact-model=DIR" if "def pytest_maxact_corpus" in block.text else "--maxact-replay=run.safetensors"
    result = pytester.runpytest(gated)
    assert result.ret == 0, result.stdout.str() + result.stderr.str()


def given(block: Block, here: Path) -> dict[str, Any]:
    """The names that a block says it is given: `<!-- given: a trainer -->`."""
    if block.said != "given: a trainer":
        return {}
    trainer = training.trainer_of(here / "training", max_steps=2, save_steps=2)
    return {
        "Trainer": type(trainer),
        "model": trainer.model,
        "args": trainer.args,
        "data": trainer.train_dataset,
        "tokenizer": tiny.character_tokenizer(),
    }


@pytest.mark.parametrize("block", runnable("yaml"))
def test_yaml_is_a_limits_file_or_a_pipeline_whose_commands_are_understood(
    block: Block, here: Path, pytester: pytest.Pytester
) -> None:
    document = yaml.safe_load(block.text)
    if commands := list(scripts_of(document)):
        for command in commands:
            understood(command, here, pytester, run=False)
        return
    head = "" if "version" in document else "version: 1\nextends: builtin\n"
    (here / "shown.yaml").write_text(head + block.text)
    load_limits(here / "shown.yaml")


def scripts_of(node: Any) -> list[list[str]]:
    """The commands of a GitHub or GitLab pipeline."""
    if isinstance(node, list):
        return [command for entry in node for command in scripts_of(entry)]
    if not isinstance(node, dict):
        return []
    found = []
    for key, value in node.items():
        if key in ("run", "script"):
            found += commands_of("\n".join([value] if isinstance(value, str) else value))
        else:
            found += scripts_of(value)
    return found


@pytest.mark.parametrize("block", runnable("toml"))
def test_configuration_names_options_that_exist_and_is_understood(block: Block) -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has none")
    stated = tomllib.loads(block.text)["tool"]["pytest"]["ini_options"]
    own = {key: Written(value=value) for key, value in stated.items() if key.startswith("maxact_")}
    assert own.keys() <= {option.ini for option in OPTIONS}
    assert resolve({option.field: None for option in OPTIONS}, own).wanted


@pytest.mark.parametrize("block", runnable("bash"))
def test_commands(block: Block, here: Path, pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands_of(block.text):
        understood(command, here, pytester, run=True)


def understood(command: list[str], here: Path, pytester: pytest.Pytester, *, run: bool) -> None:
    """Run a command where that is fast, or else have the real parser take it."""
    program, *arguments = command
    if program == "torchrun":
        program, *arguments = launched(arguments)
    if program == "maxact":
        maxact(expanded(arguments), run=run and arguments[0] in FAST)
    elif program == "pytest":
        gate(arguments, pytester, run=run)
    else:
        assert program in SHELL, command


def launched(arguments: list[str]) -> list[str]:
    """What torchrun starts so many times, as its own parser says."""
    asked = get_args_parser().parse_args(arguments)
    assert asked.module
    return [{"pytest_maxact": "maxact"}.get(asked.training_script, asked.training_script), *asked.training_script_args]


def expanded(arguments: list[str]) -> list[str]:
    """File patterns, as a shell hands them on."""
    return [name for argument in arguments for name in sorted(glob.glob(argument)) or [argument]]


def maxact(arguments: list[str], *, run: bool) -> None:
    if run:
        assert main(arguments) == 0, arguments
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pytest_maxact.measure.prepare.prepare", _interrupt)
            assert main(arguments) == INTERRUPTED, arguments


def _interrupt(*args: Any, **kwargs: Any) -> None:
    """Where measuring would begin, its settings understood."""
    raise KeyboardInterrupt


def gate(arguments: list[str], pytester: pytest.Pytester, *, run: bool) -> None:
    if run and any(argument.startswith("--maxact-replay") or argument == "--co" for argument in arguments):
        result = pytester.runpytest(*arguments)
        assert result.ret == 0, result.stdout.str() + result.stderr.str()
        return
    config = pytester.parseconfig(*[argument for argument in arguments if not argument.startswith("maxact")])
    assert resolve({option.field: config.getoption(f"maxact_{option.field}") for option in OPTIONS}).wanted
