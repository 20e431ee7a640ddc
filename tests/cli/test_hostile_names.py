"""Names that others chose are text in all that a command prints: no line is obeyed by a terminal or a CI system."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.cli.main import main
from tests.support import hostile_records
from tests.support.commands import COMMANDS
from tests.support.doctored import document_in
from tests.support.hostile import NAMES
from tests.support.hostile_records import MIXED
from tests.support.linting import changed
from tests.support.paths import RECORDS

CHANGED = RECORDS / "deploy.safetensors"
OF_RECORDS: dict[str, list[str]] = {
    "show": ["RECORD"],
    "show -v": ["-v", "RECORD"],
    "judge": ["RECORD"],
    "judge -v": ["-v", "--limits", "LIMITS", "RECORD"],
    "judge -q": ["-q", "RECORD"],
    "judge --baseline": ["--baseline", "OTHER", "RECORD"],
    "trust": ["RECORD"],
    "compare": ["OTHER", "RECORD"],
    "series": ["RECORD"],
    "merge": ["-o", "merged", "RECORD"],
    "suggest": ["RECORD"],
    "report": ["-o", "page.html", "RECORD"],
    "card": ["-o", "README.md", "RECORD"],
    "figures": ["--format", "svg", "-o", "drawn", "RECORD"],
    "export": ["--scales", "W8A8_STATIC", "out.safetensors", "RECORD"],
    "explain": ["NAME"],
}
OF_CHECKPOINTS: dict[str, list[str]] = {
    "measure": ["-o", "measured", "--corpus", "CORPUS", "MODEL"],
    "judge --verdict": ["--family", "generic", "--verdict", "verdict.json", "measured"],
    "verify": ["verdict.json", "MODEL"],
    "stress": ["--corpus", "CORPUS", "MODEL"],
    "hunt": ["--corpus", "CORPUS", "--evaluations", "20", "MODEL"],
    "cause": ["--corpus", "CORPUS", "MODEL"],
    "plan": ["--corpus", "CORPUS", "MODEL"],
    "sites": ["MODEL"],
    "weights": ["--schemes", "FP8", "MODEL"],
    "lint": ["ARTIFACT"],
}
Ran = Callable[[list[str]], str]
LIMITS = """\
version: 1
extends: builtin
families:
  {family}:
    layers:
      "layers.1.hidden": {{hidden: 1.0e-3}}
"""


def harmful(text: str) -> list[str]:
    """Lines that a terminal or a runner may obey."""
    return [
        line
        for line in text.split("\n")
        if not line.isprintable() or line.lstrip().startswith("::") or re.search(r"##\w*\[", line)
    ]


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ran:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(words: list[str]) -> str:
        capsys.readouterr()
        code = main(words)
        printed = capsys.readouterr()
        assert code in (0, 1, 4), printed.err
        if "--json" in words and code < 4:
            json.loads(printed.out)
            return printed.out
        assert not harmful(printed.out + printed.err)
        return printed.out + printed.err

    return run


def test_every_command_is_tried() -> None:
    assert {name.split()[0] for name in (*OF_RECORDS, *OF_CHECKPOINTS)} == set(COMMANDS)


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of several kinds, whatever may be hostile of them being so."""
    kinds = ("deploy", "experts", "nonfinite", "summary")
    return {
        kind: hostile_records.all_hostile(RECORDS / f"{kind}.safetensors", tmp_path_factory.mktemp(kind))
        for kind in kinds
    }


DRAWING = ("report", "figures")
"""Takes a second or two, whatever it is that is drawn."""


@pytest.mark.parametrize("kind", ["deploy", "experts", "nonfinite", "summary"])
def test_names_in_a_record_are_text(kind: str, records: dict[str, Path], ran: Ran, tmp_path: Path) -> None:
    family = document_in(records[kind])["provenance"]["model_type"]
    (tmp_path / "tight.yaml").write_text(LIMITS.format(family=family))
    given = {"RECORD": str(records[kind]), "OTHER": str(records[kind]), "LIMITS": "tight.yaml", "NAME": MIXED}
    said = {
        name: ran([name.split()[0], *(given.get(word, word) for word in words)])
        for name, words in OF_RECORDS.items()
        if kind == "nonfinite" or name not in DRAWING
    }
    assert [name for name in TELLING if "stop-commands" not in "".join(said[name].split())] == []


TELLING = ("show", "judge -v", "compare")
"""What says whose figures they are."""


@pytest.mark.parametrize("field", hostile_records.fields_of(CHANGED), ids=".".join)
def test_a_name_in_any_field_is_text_or_refused(field: hostile_records.Field, ran: Ran, tmp_path: Path) -> None:
    record = str(hostile_records.with_names(CHANGED, tmp_path / "r.safetensors", [field]))
    for words in (
        ["show", "-v"],
        ["judge", "-v", "--close", "fail"],
        ["suggest"],
        ["trust"],
        ["compare", str(CHANGED)],
    ):
        ran([*words, record])
    ran(["show", "--json", record])


def test_limits_proposed_from_it_are_a_limits_file(saved: Path, ran: Ran, tmp_path: Path) -> None:
    record = str(hostile_records.all_hostile(saved, tmp_path))
    assert "limits.yaml: written" in ran(["suggest", "--limits", "limits.yaml", "--update", "new", record])
    assert ran(["judge", "-q", "--limits", "limits.yaml", record]).startswith("PASS")


def test_names_in_a_checkpoint_and_in_a_corpus_are_text(ran: Ran, tmp_path: Path) -> None:
    given = {
        "MODEL": str(hostile_records.checkpoint(tmp_path)),
        "CORPUS": str(hostile_records.corpus(tmp_path / "corpus.jsonl")),
        "ARTIFACT": str(changed(tmp_path / "export", "compressed FP8 kv", _with_tensors)),
    }
    for name, words in OF_CHECKPOINTS.items():
        assert ran([name.split()[0], *(given.get(word, word) for word in words)])


def _with_tensors(tensors: dict[str, Any], config: dict[str, Any]) -> None:
    for name, text in NAMES.items():
        if name != "surrogate":  # no header of a file holds one
            tensors[f"model.layers.0.{text}.weight_scale"] = tensors[
                "model.layers.0.mlp.down_proj.weight_scale"
            ].clone()
    config["architectures"] = [MIXED]
