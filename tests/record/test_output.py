"""Nothing of a user's is destroyed: a file is replaced by its own kind only, and nothing goes into a checkpoint."""

import json
import os
import shutil
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import LIMITS
from pytest_maxact.record.export import EXPORT
from pytest_maxact.record.export import write as write_export
from pytest_maxact.record.file import RECORD, put, save
from pytest_maxact.record.output import Kind, inside_checkpoint, require_folder, require_place, write_output
from pytest_maxact.record.record import Record
from tests.support.paths import REPOSITORY
from tests.support.records import record_of
from tests.support.samples import measured


@pytest.fixture(scope="module")
def record() -> Record:
    return record_of(measured(3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What counts as a checkpoint, with files that must not change."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def links(folder: Path, to: Path) -> list[Path]:
    """Ways that lead into a checkpoint and do not look like it."""
    (to / "to-folder").symlink_to(folder)
    (to / "to-file").symlink_to(folder / "model.safetensors")
    (to / "to-new").symlink_to(folder / "new.safetensors")
    (to / "to-link").symlink_to(to / "to-new")
    return [
        to / "to-folder" / "model.safetensors",
        to / "to-folder" / "new",
        to / "to-file",
        to / "to-new",
        to / "to-link",
    ]


@pytest.mark.parametrize("apart", [True, False], ids=["of the run", "by its looks"])
def test_whatever_leads_into_a_checkpoint_is_refused(
    apart: bool, folder: Path, tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    if apart:
        (folder / "config.json").write_text("{}")
    before = contents(folder)
    monkeypatch.chdir(folder)
    for target in (
        *(
            folder / name
            for name in ("model.safetensors", "config.json", "tokenizer.json", "new", "sub/new", "../model/x")
        ),
        *(Path(name) for name in ("new", "config.json", "./new", "../model/new")),
        *links(folder, tmp_path),
    ):
        for kind in (RECORD, EXPORT, LIMITS):
            with pytest.raises(InputError, match=rf"cannot be written to {target}: .* is a checkpoint"):
                require_place(target, kind, [folder] if apart else [])
        with pytest.raises(InputError, match="is a checkpoint"):
            put(record, target, [folder] if apart else [])
    assert contents(folder) == before


def test_the_cache_of_the_hub_is_refused(tmp_path: Path, record: Record) -> None:
    for place in ("snapshots/0123/x.safetensors", "blobs/x", "refs/main"):
        target = tmp_path / "hub" / "models--org--name" / place
        target.parent.mkdir(parents=True)
        with pytest.raises(InputError, match="it lies in the cache of the hub"):
            save(record, target)
        assert not target.exists()


@pytest.mark.parametrize(
    "content", [b"mine", b"\x00" * 100, b"{}", (REPOSITORY / "thresholds.yaml").read_bytes()],
    ids=["text", "zeros", "json", "limits"],
)  # fmt: skip
def test_a_file_of_another_kind_is_refused_whatever_its_name(content: bytes, tmp_path: Path, record: Record) -> None:
    for name in ("r.maxact.safetensors", "r.yaml", "r"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(
            InputError, match="there is a file of another kind, which would be lost\n  give another path"
        ):
            save(record, tmp_path / name)
        assert (tmp_path / name).read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "r.maxact.safetensors", "r.yaml"]


def test_every_kind_replaces_its_own_and_no_other(tmp_path: Path, record: Record) -> None:
    import numpy as np

    save(record, tmp_path / "record")
    write_export({"a": np.ones(2, np.float32)}, tmp_path / "export", {"what": "smoothquant"})
    (tmp_path / "limits").write_text("version: 1\nextends: builtin\n")
    for name, kind in (("record", RECORD), ("export", EXPORT), ("limits", LIMITS)):
        for file in ("record", "export", "limits"):
            if file == name:
                require_place(tmp_path / file, kind)
            else:
                with pytest.raises(InputError, match="of another kind"):
                    require_place(tmp_path / file, kind)


@pytest.mark.parametrize(
    "earlier", sorted((REPOSITORY / "tests" / "data" / "records").glob("*.safetensors")), ids=lambda p: p.stem
)
def test_a_record_of_an_earlier_version_is_one(earlier: Path) -> None:
    assert RECORD.is_one(earlier)


def test_an_empty_file_and_a_link_to_a_record_are_filled(tmp_path: Path, record: Record) -> None:
    (tmp_path / "empty").touch(mode=0o600)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    save(record, tmp_path / "target")
    for name in ("empty", "link"):
        save(record, tmp_path / name)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "empty").read_bytes() == (tmp_path / "target").read_bytes()
    assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o600


def test_what_is_no_regular_file_is_refused_and_stays(tmp_path: Path, record: Record) -> None:
    os.mkfifo(tmp_path / "pipe")
    for target in (tmp_path / "pipe", Path("/dev/null"), Path("/dev/stdout")):
        before = os.stat(target).st_mode
        with pytest.raises(InputError, match=r"it is no regular file|is no|cannot be written"):
            save(record, target)
        assert os.stat(target).st_mode == before
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_place_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place, reason in (
        ("none/r", f"there is no folder {tmp_path / 'none'}"),
        ("file/r", f"there is no folder {tmp_path / 'file'}"),
        (".", "it is a folder"),
        ("loop", "Too many levels"),
    ):
        with pytest.raises(InputError, match=f"the Record cannot be written to .*: .*{reason}"):
            require_place(tmp_path / place, RECORD)


def test_a_refusal_says_what_where_why_and_what_to_do(folder: Path, tmp_path: Path, record: Record) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("mine")
    save(record, tmp_path / "r")
    os.link(tmp_path / "r", folder / "r")
    for place, reason, how in (
        (tmp_path, "it is a folder", "give a file"),
        (tmp_path / "none/r", f"there is no folder {tmp_path}/none", "make it, or give a file in one that exists"),
        (tmp_path / "pipe", "it is no regular file", "give a file, which is written whole or not at all"),
        (tmp_path / "r", "it is a hard link to a file of a checkpoint", "give another path"),
        (
            tmp_path / "text",
            "there is a file of another kind, which would be lost",
            "give another path, or move it away",
        ),
        (
            folder / "new",
            f"{folder} is a checkpoint of this run",
            "give a path outside every checkpoint; what lies in one is part of it",
        ),
        (
            tmp_path / "models--a--b/blobs/r",
            "it lies in the cache of the hub, where checkpoints are kept as they were downloaded",
            "give a path outside every checkpoint; what lies in one is part of it",
        ),
    ):
        with pytest.raises(InputError) as caught:
            require_place(place, RECORD, [folder])
        assert str(caught.value) == f"the Record cannot be written to {place}: {reason}\n  {how}"
    with pytest.raises(InputError) as caught:
        require_folder(folder / "cache", "the cache", [folder])
    assert str(caught.value) == (
        f"the cache cannot be written to {folder}/cache: {folder} is a checkpoint of this run\n"
        "  give a folder of its own, outside every checkpoint"
    )


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_may_not_be_written_is_refused_before_measuring(
    what: str, tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(record, tmp_path / "r")
    locked = tmp_path if what == "folder" else tmp_path / "r"
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and allowed(path, mode))
    with pytest.raises(InputError) as caught:
        require_place(tmp_path / "r", RECORD)
    how = {"folder": "a file in a folder that may be written", "file": "another path, or make it writable"}[what]
    assert str(caught.value) == (
        f"the Record cannot be written to {tmp_path / 'r'}: {locked} may not be written\n  give {how}"
    )


def test_a_file_of_two_names_outside_checkpoints_is_replaced(folder: Path, tmp_path: Path, record: Record) -> None:
    save(record, tmp_path / "r")
    os.link(tmp_path / "r", tmp_path / "twin")
    require_place(tmp_path / "r", RECORD, [folder])
    require_place(tmp_path / "r", RECORD, [folder / "none"])


@pytest.mark.parametrize(
    ("name", "content", "is_one"),
    [
        ("adapter_config.json", "", True),
        ("config.json", '{"architectures": []}', True),
        ("config.json", '{"auto_map": {}}', True),
        ("config.json", '{"model_type": ""}', True),
        ("config.json", '["model_type"]', False),
        ("config.json", "{", False),
        ("model.safetensors", "", False),
    ],
)
def test_a_folder_looks_like_a_checkpoint_by_its_config(name: str, content: str, is_one: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    reason = f"{tmp_path} is a checkpoint, as its config says"
    assert inside_checkpoint(tmp_path / "r") == (reason if is_one else "")


def test_a_config_that_cannot_be_read_beside_weights_is_that_of_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model-00001-of-2.safetensors").touch()
    assert inside_checkpoint(tmp_path / "r") == f"{tmp_path} is a checkpoint, as its config says"


def test_a_hard_link_to_a_file_of_a_checkpoint_is_refused(folder: Path, tmp_path: Path, record: Record) -> None:
    save(record, tmp_path / "r")
    os.link(tmp_path / "r", folder / "r")
    with pytest.raises(InputError, match="it is a hard link to a file of a checkpoint"):
        put(record, tmp_path / "r", [folder])


def test_a_link_under_the_name_of_what_is_half_written_is_not_written_through(tmp_path: Path, record: Record) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / f".r.{os.getpid()}.partial").symlink_to(tmp_path / "mine")
    save(record, tmp_path / "r")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_folder_of_ours_lies_outside_checkpoints(folder: Path, tmp_path: Path) -> None:
    require_folder(tmp_path / "new" / "deep", "Records")
    for place in (folder, folder / "cache", folder / "config.json"):
        with pytest.raises(InputError, match="is a checkpoint"):
            require_folder(place, "Records")


def test_the_folder_of_a_training_run_may_look_like_a_checkpoint_and_those_in_it_may_not(folder: Path) -> None:
    own = folder / "checkpoint-5.maxact.safetensors"
    require_place(own, RECORD, own=folder)
    shutil.copytree(folder, folder / "checkpoint-5")
    with pytest.raises(InputError, match="checkpoint-5 is a checkpoint"):
        require_place(folder / "checkpoint-5" / "r", RECORD, own=folder)


def test_other_folders_with_a_config_are_none(tmp_path: Path) -> None:
    for content in ("{}", "[]", '{"name": "my project"}'):
        (tmp_path / "config.json").write_text(content)
        assert inside_checkpoint(tmp_path / "r") == ""


@pytest.mark.parametrize("kind", [RECORD, LIMITS, EXPORT], ids=lambda kind: kind.called)
def test_a_file_that_its_mode_protects_is_replaced_by_nobody(kind: Kind, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.touch(mode=0o444)
    (tmp_path / "link").symlink_to(own)
    for target in (own, tmp_path / "link"):
        for write in (lambda to: require_place(to, kind), lambda to: write_output(to, b"new", kind)):
            with pytest.raises(InputError) as caught:
                write(target)
            assert str(caught.value) == (
                f"{kind.called} cannot be written to {target}: {own} may not be written (mode 444)\n"
                "  give another path, or make it writable"
            )
    assert own.read_bytes() == b""


def test_a_folder_that_its_mode_protects_is_refused_before_measuring(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir(mode=0o555)
    with pytest.raises(InputError, match=r"kept may not be written \(mode 555\)\n  give a file in a folder that may"):
        require_place(tmp_path / "kept" / "new", RECORD)
