"""Files of a user's: what stands in place of one is told as what it is, by every door that reads one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.checkpoint.tokenizer import load_tokenizer
from pytest_maxact.corpus.samples import read_jsonl
from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.record.file import load
from pytest_maxact.settings.settings import Settings
from pytest_maxact.settings.userfiles import BOM, text_of
from tests.support.rights import modes_hold

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
OF_MODEL = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@pytest.fixture
def model(checkpoint: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    return folder


def opened(folder: Path) -> object:
    found = locate(Settings(model=str(folder)))
    return load_tokenizer(found.folder, trust_remote_code=False, config=found.config)


READERS: dict[str, Callable[[Path], object]] = {
    "corpus.jsonl": read_jsonl,
    "limits.yaml": load_limits,
    "record.safetensors": load,
}


@pytest.mark.parametrize("name", [*OF_MODEL, "vocab.json", "merges.txt", "tokenizer.model", "generation_config.json"])
def test_a_pointer_of_git_lfs_in_a_checkpoint_is_told_as_one(name: str, model: Path) -> None:
    (model / name).write_bytes(POINTER)
    with pytest.raises(InputError, match=rf"{name} is a pointer of Git LFS that stands for 12345 bytes.*\n.* lfs pull"):
        opened(model)


@pytest.mark.parametrize("name", READERS)
def test_and_so_is_one_of_a_corpus_limits_or_a_record(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(InputError, match=rf"{name} is a pointer of Git LFS .*\n.*git -C {tmp_path} lfs pull"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://hawser.github.com/spec/v1\noid x\n", "is a pointer of Git LFS, not the file itself"),
        (b"/annex/objects/SHA256E-s1--00.safetensors\n", "is a pointer of git-annex.*\n.*git annex get"),
        (b"<!DOCTYPE html>\n<html></html>", "is a web page .*<!DOCTYPE"),
        (b"\n <HTML lang=en>", "is a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is a web page or the answer of a server"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "record.safetensors", "corpus.jsonl"])
def test_whatever_lies_in_its_place_is_named(name: str, content: bytes, said: str, model: Path) -> None:
    place = model / name if name in OF_MODEL else model.parent / name
    place.write_bytes(content)
    with pytest.raises(InputError, match=f"{name} {said}") as caught:
        READERS.get(name, lambda path: opened(path.parent))(place)
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_an_empty_file_is_empty(name: str, model: Path) -> None:
    (model / name).write_bytes(b"")
    with pytest.raises(InputError, match=f"{name} is empty\n"):
        opened(model)


def test_a_damaged_file_is_still_called_that(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"version 1, not a pointer of anything")
    with pytest.raises(InputError, match="is corrupt or truncated"):
        opened(model)


@pytest.mark.parametrize("name", [*OF_MODEL, "", *READERS])
def test_a_file_or_folder_that_may_not_be_read_is_not_corrupt(name: str, model: Path, tmp_path: Path) -> None:
    place = tmp_path / name if name in READERS else model / name
    if name in READERS:
        place.write_bytes(b"{}")
    mode = place.stat().st_mode
    place.chmod(0)
    try:
        with modes_hold(), pytest.raises(InputError, match=r"may not be read by this user \(Permission denied\)\n"):
            READERS.get(name, lambda path: opened(model))(place)
    finally:
        place.chmod(mode)


def test_nor_is_what_lies_behind_a_folder_that_may_not_be_entered(model: Path, tmp_path: Path) -> None:
    for name in READERS:
        (model / name).write_bytes(b"{}")
    model.chmod(0)
    try:
        for name, reader in {**READERS, "sub": opened}.items():
            with modes_hold(), pytest.raises(InputError, match="may not be read by this user"):
                reader(model / name)
    finally:
        model.chmod(0o755)


def test_text_is_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    for content in (b"caf\xc3\xa9", BOM + b"caf\xc3\xa9"):
        (tmp_path / "text").write_bytes(content)
        assert text_of(tmp_path / "text") == "café"


def test_a_byte_order_mark_changes_nothing_of_a_corpus_limits_or_a_config(model: Path, tmp_path: Path) -> None:
    lines = b'{"text": "one", "category": "a"}\n{"text": "two", "category": "b"}\n'
    for name, content in {"plain": lines, "marked": BOM + lines}.items():
        (tmp_path / name).write_bytes(content)
    assert read_jsonl(tmp_path / "marked") == read_jsonl(tmp_path / "plain")
    (tmp_path / "limits.yaml").write_bytes(BOM + b"version: 1\nextends: builtin\n")
    assert load_limits(tmp_path / "limits.yaml")[0].line("extends") == 2
    plain = locate(Settings(model=str(model))).config.to_dict()
    (model / "config.json").write_bytes(BOM + (model / "config.json").read_bytes())
    assert locate(Settings(model=str(model))).config.to_dict() == plain
    opened(model)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json"])
def test_where_the_loaders_of_a_checkpoint_read_none_it_is_named(name: str, model: Path) -> None:
    if "index" in name:
        (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
        (model / name).write_text('{"weight_map": {"norm.weight": "model-00001-of-00001.safetensors"}}')
    (model / name).write_bytes(BOM + (model / name).read_bytes())
    with pytest.raises(InputError, match=rf"{name} begins with a byte order mark \(BOM\).*\n  remove it: sed"):
        opened(model)
