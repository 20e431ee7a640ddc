"""What holds for every command: exit codes, words, and a quick start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.cli.output import print_json
from pytest_maxact.errors import setting


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["judge", "/no/record"], "no Record at /no/record"),
        (["judge", "/no/record-*"], "maxact judge takes one Record, and /no/record-* is a pattern"),
        (["show", "/no/record"], "no Record at /no/record"),
        (["measure", "/no/model", "-o", "x"], "no model at /no/model"),
    ],
)  # fmt: skip
def test_a_bad_request_exits_with_4_and_says_what(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 4
    assert message in capsys.readouterr().err


def test_a_bad_option_exits_with_4(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["measure", "m", "-o", "x", "--dtype", "int8"])
    assert stopped.value.code == 4
    assert "'int8' is not one of auto, bf16, fp16, fp32" in capsys.readouterr().err


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 4
    assert "measure a checkpoint and write its Record" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["jugde", "x"], "maxact: error: there is no command jugde; did you mean judge?"),
        (["Show", "x"], "maxact: error: there is no command Show; did you mean show?"),
        (["gate", "x"], "maxact: error: there is no command gate; there are measure, judge,"),
        (["--modle", "x"], "maxact: error: there is no option --modle"),
        (["judge", "x", "--limts", "y"], "maxact judge: error: there is no option --limts; did you mean --limits?"),
        (["merge", "a", "b", "--sve=x"], "maxact merge: error: there is no option --sve; did you mean --save?"),
        (["judge", "x", "--maxact-family=f"], "there is no option --maxact-family; did you mean --family?"),
        (["suggest", "x", "--per_layer"], "there is no option --per_layer; did you mean --per-layer?"),
        (["show", "x", "--wordy"], "maxact show: error: there is no option --wordy\n"),
    ],
)
def test_what_is_misspelt_is_told_with_what_was_probably_meant(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 4
    assert words in capsys.readouterr().err


def test_an_option_may_be_shortened(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(saved), "--js"]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dtype", "bf16", "--dtype=fp32"], "--dtype: is given twice, as bf16 and as fp32"),
        (["--max-samples=3", "--max-sam", "4"], "--max-samples: is given twice, as 3 and as 4"),
        (["--schemes", "W8A8", "--schemes", "W8A8,W4A16"], "--schemes: is given twice, as W8A8 and as W8A8,W4A16"),
        (["--save", "y"], "-o/--save: is given twice, as x and as y"),
    ],
)
def test_an_option_given_twice_with_two_values_is_refused(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["measure", "m", "-o", "x", *options])
    assert stopped.value.code == 4
    assert words in capsys.readouterr().err


def test_an_option_given_twice_with_one_value_is_given_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "/no/model", "-o", "x", "--seed", "3", "--seed=3"]) == 4
    assert "no model at /no/model" in capsys.readouterr().err


def test_show_and_judge_import_no_torch(saved: Path) -> None:
    code = "import sys; from pytest_maxact.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    for command in ("show", "judge"):
        subprocess.run([sys.executable, "-c", code, command, str(saved)], check=True, capture_output=True)


def test_its_errors_name_its_own_options(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", str(checkpoint), "-o", str(tmp_path / "r"), "--device", "cuda:7"]) == 4
    text = capsys.readouterr().err
    assert "--device cuda:7: not available here" in text
    assert "--maxact-" not in text


COMMANDS = ("measure", "judge", "show", "compare", "series", "merge", "suggest", "export", "weights", "sites")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_options_as_they_are_typed_here(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert "--maxact-" not in text
    assert not {"\ue000", "\ue001"} & set(text)


def test_an_error_names_what_is_positional_by_what_stands_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/config.json").write_text('{"model_type": "qwen3"}')
    assert main(["measure", str(tmp_path / "m"), "-o", str(tmp_path / "r")]) == 4
    assert "point PATH_OR_HUB_ID at the checkpoint itself" in capsys.readouterr().err


def test_texts_for_a_program_are_worded_too(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"why": [f"raise {setting('max_samples')}"], "count": 2})
    assert json.loads(capsys.readouterr().out) == {"why": ["raise --max-samples"], "count": 2}


def test_the_quick_start_imports_nothing_that_the_commands_need() -> None:
    heavy = "{'torch', 'transformers', 'rich', 'numpy', 'yaml'}"
    code = "import sys; from pytest_maxact.cli.main import command_line; command_line()"
    code += f"; sys.exit(bool({heavy} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    "words",
    [
        ["report", "r", "-o"], ["figures", "r", "-o"], ["card", "r", "-o"], ["merge", "r", "-o"],
        ["measure", "m", "-o"], ["stress", "m", "-o"], ["hunt", "m", "-o"],
        ["export", "r", "--kv-scales"], ["export", "r", "--smoothquant"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_place_is_no_place(words: list[str], empty: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, empty])
    assert ended.value.code == 4
    assert "is empty; give a file" in capsys.readouterr().err
