"""Every command prints names of others as text, whatever they are: no line of it is obeyed by a terminal or a runner of
CI, none is wider than the terminal, and what is harmless in a name is still read.

A new command fails until it has a case.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from tests.support.commands import COMMANDS
from tests.support.hostile import NAMES, obeyed
from tests.support.hostile_records import named

ALL = "\n".join(name for key, name in NAMES.items() if key != "long")
TRIED = {"first": NAMES["command"], "all": ALL, "long": NAMES["long"] + " owned"}
"""Names that are put before all others; each says `owned` in what is harmless of it."""
FOLDER = "::error::owned ##[error]owned \x1b]0;o\x07\x9b31m\r\n::error::b\u202e\U0001f469\u200d\U0001f680"
JUDGING = ["--family", "generic"]
Places = dict[str, str]

OF_RECORDS: dict[str, Callable[[Places], list[list[str]]]] = {
    "show": lambda at: [["show", at["record"], *more] for more in ([], ["-v"], ["--json"])],
    "judge": lambda at: [["judge", at["record"], *JUDGING, *more] for more in ([], ["-v"], ["-q"], ["--json"])],
    "trust": lambda at: [["trust", at["record"], *more] for more in ([], ["--json"])],
    "compare": lambda at: [["compare", at["record"], at["record"], *more] for more in ([], ["--json"])],
    "series": lambda at: [["series", at["record"], *more] for more in ([], ["--json"])],
    "merge": lambda at: [["merge", at["record"], at["record"], "-o", at["out"]]],
    "suggest": lambda at: [["suggest", at["record"], "--limits", at["limits"]]],
    "export": lambda at: [["export", at["record"], "--smoothquant", at["out"]]],
    "card": lambda at: [["card", at["record"], "-o", at["card"], *JUDGING]],
    "verify": lambda at: [
        ["judge", at["record"], "--verdict", at["verdict"], *JUDGING],
        *(["verify", at["verdict"], at["model"], *more] for more in ([], ["--json"])),
    ],
    "explain": lambda at: [["explain", f"maxact::{at['name']}::max_abs"]],
}  # fmt: skip
OF_MODELS: dict[str, Callable[[Places], list[list[str]]]] = {
    "weights": lambda at: [["weights", at["model"], "--schemes", "W8A8", *more] for more in ([], ["--json"])],
    "lint": lambda at: [["lint", at["model"], *more] for more in ([], ["--json"])],
    "sites": lambda at: [["sites", at["model"], *more] for more in ([], ["--json"])],
    "plan": lambda at: [["plan", at["model"], "--corpus", at["corpus"], *more] for more in ([], ["--json"])],
    "measure": lambda at: [["measure", at["model"], "-o", at["out"], "--corpus", at["corpus"]]],
    "stress": lambda at: [["stress", at["model"], "--corpus", at["corpus"], "--max-samples", "2"]],
    "hunt": lambda at: [["hunt", at["model"], "--corpus", at["corpus"], "--evaluations", "20"]],
    "cause": lambda at: [["cause", at["model"], "--corpus", at["corpus"]]],
    "report": lambda at: [["report", at["record"], "-o", at["page"], *JUDGING]],
    "figures": lambda at: [["figures", at["record"], "-o", at["figures"], "--format", "svg"]],
}  # fmt: skip
SILENT = {"export", "report", "card", "series", "sites", "stress", "hunt", "cause", "weights"}
"""What prints the names of no model, sample or token: of files alone."""

REFUSED = {"export", "merge", "explain", "suggest", "verify"}
"""What may refuse such a Record, or such a name, in words that are looked at likewise."""


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints, looked at."""
    try:
        code = main(words)
    except SystemExit as ended:
        code = int(str(ended.code))
    out, err = capsys.readouterr()
    assert code in ((0, 1, 4) if words[0] in REFUSED else (0, 1)), err
    assert list(obeyed(err)) == []
    free = "--json" in words or words[0] in ("figures", "suggest", "verify", "measure", "export", "plan", "card")
    assert list(obeyed(out, None if free else 80)) == []
    if "--json" in words and code != 4:
        json.loads(out)
    assert "Traceback" not in err
    return out + err


def test_every_command_has_a_case() -> None:
    assert sorted([*OF_RECORDS, *OF_MODELS]) == sorted(COMMANDS)


@pytest.fixture
def places(saved: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("COLUMNS", "80")
    model = tmp_path / FOLDER
    shutil.copytree(checkpoint, model)
    corpus = tmp_path / f"{FOLDER}.jsonl"
    name = NAMES["command"] + NAMES["right_to_left"] + NAMES["emoji"] + "##[error]owned"
    rows = [{"id": f"{name}{i}", "category": name, "text": f"w{i} w2 peak w3"} for i in range(4)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "model": str(model), "corpus": str(corpus), "record": str(saved), "limits": str(tmp_path / "limits.yaml"),
        **{one: str(tmp_path / f"{FOLDER} {one}") for one in ("out", "verdict", "page", "figures")},
        "card": str(tmp_path / f"{FOLDER}.md"),
    }  # fmt: skip


@pytest.mark.parametrize("tried", TRIED)
@pytest.mark.parametrize("command", OF_RECORDS)
def test_what_it_prints_of_a_record_is_text(
    command: str, tried: str, places: Places, saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = named(saved, tmp_path / "record.safetensors", TRIED[tried])
    told = "".join(
        printed(words, capsys) for words in OF_RECORDS[command]({**places, "record": str(record), "name": TRIED[tried]})
    )
    assert "owned" in told or command in SILENT


@pytest.mark.parametrize("command", OF_MODELS)
def test_what_it_prints_of_a_model_is_text(command: str, places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    told = "".join(printed(words, capsys) for words in OF_MODELS[command](places))
    assert "owned" in told or command in SILENT
