"""A card lies beside the weights that it describes, under its one name, and nowhere else in a checkpoint."""

import json
import os
from pathlib import Path

import pytest

from pytest_maxact.checkpoint.artifact import artifact_digests
from pytest_maxact.errors import InputError
from pytest_maxact.record.output import Kind, require_place, write_output

CARD = Kind(called="the model card", is_one=lambda path: path.suffix == ".md", beside_weights="README.md")
OTHER = Kind(called="the Record", is_one=lambda path: True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.mark.parametrize("apart", [True, False], ids=["of the run", "by its looks"])
def test_it_is_written_there_and_changes_no_digest(folder: Path, apart: bool) -> None:
    before, checkpoints = artifact_digests(folder), [folder] if apart else []
    for content in (b"a", b"b"):
        require_place(folder / "README.md", CARD, checkpoints)
        write_output(folder / "README.md", content, CARD, checkpoints)
        assert (folder / "README.md").read_bytes() == content
    assert artifact_digests(folder) == before
    (folder.parent / "card.md").symlink_to(folder / "README.md")
    write_output(folder.parent / "card.md", b"c", CARD, checkpoints)
    assert (folder / "README.md").read_bytes() == b"c"


def test_no_other_name_and_no_other_kind_is(folder: Path) -> None:
    for name in ("CARD.md", "README", "readme.md", "config.json", "sub/README.txt"):
        with pytest.raises(InputError, match="is a checkpoint"):
            require_place(folder / name, CARD, [folder])
    with pytest.raises(InputError, match="is a checkpoint"):
        require_place(folder / "README.md", OTHER, [folder])


def test_a_link_of_that_name_leads_nowhere_else(folder: Path) -> None:
    (folder / "README.md").symlink_to(folder / "model.safetensors")
    with pytest.raises(InputError, match="is a checkpoint"):
        write_output(folder / "README.md", b"a", CARD)
    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_a_name_that_weights_have_too_is_refused(folder: Path) -> None:
    os.link(folder / "model.safetensors", folder / "README.md")
    with pytest.raises(InputError, match="hard link"):
        write_output(folder / "README.md", b"a", CARD, [folder])
    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_nothing_is_written_into_the_cache_of_the_hub(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    with pytest.raises(InputError, match="cache of the hub"):
        write_output(snapshot / "README.md", b"a", CARD)
