"""Records of every kind that an earlier version wrote: they load, say what it said of them, and are written back to the
byte.
"""

import json
from pathlib import Path

import pytest

from pytest_maxact.record.file import load, save
from tests.support.reports import data_of

KEPT = sorted((Path(__file__).parents[1] / "data" / "records").glob("*.safetensors"))


def test_there_is_one_of_each_kind() -> None:
    kinds = {path.stem for path in KEPT}
    assert kinds >= {"bfloat16", "float16", "float32", "deploy", "experts", "merged", "nonfinite", "summary"}


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_it_says_what_was_said_of_it_then(path: Path) -> None:
    said = path.with_suffix(".json").read_text(encoding="utf-8")
    assert json.dumps(data_of(load(path))) == json.dumps(json.loads(said))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_it_is_written_back_to_the_byte(path: Path, tmp_path: Path) -> None:
    save(load(path), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
