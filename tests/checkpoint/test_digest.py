"""A file's digest: told by the reading that is made anyway, and by none but a whole reading of an unchanged file."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_maxact.checkpoint import digest as under_test
from pytest_maxact.checkpoint.digest import Alongside, file_digest, weights_digest
from pytest_maxact.checkpoint.files import weight_files
from pytest_maxact.checkpoint.weights import scan
from pytest_maxact.checkpoint.weights.scan import scan_weights


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "model.bin"
    file.write_bytes(b"sixteen bytes ..")
    return file


def refuse_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("read once more")

    monkeypatch.setattr(Path, "open", refused)


def seen(file: Path, content: bytes) -> str:
    alongside = Alongside(file)
    for start in range(0, len(content), 5):
        alongside.see(memoryview(content[start : start + 5]))
    return alongside.keep()


def test_what_another_has_read_is_not_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = hashlib.sha256(file.read_bytes()).hexdigest()
    assert seen(file, file.read_bytes()) == expected
    refuse_to_read(monkeypatch)
    assert file_digest(file) == expected
    again = Alongside(file)
    again.see(memoryview(b"anything"))
    assert again.known == again.keep() == expected


@pytest.mark.parametrize("content", [b"sixteen bytes .", b"sixteen bytes ...", b""])
def test_a_part_of_a_file_is_not_taken_for_it(content: bytes, file: Path) -> None:
    seen(file, content)
    assert file_digest(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def rewrite(file: Path) -> None:
    file.write_bytes(b"SIXTEEN BYTES ..")


def replace(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"SIXTEEN BYTES ..")
    other.rename(file)


@pytest.mark.parametrize("change", [rewrite, replace])
@pytest.mark.parametrize("meanwhile", [True, False], ids=["meanwhile", "afterwards"])
def test_a_file_that_changed_is_read_again(change: Callable[[Path], None], meanwhile: bool, file: Path) -> None:
    content, alongside = file.read_bytes(), Alongside(file)
    if meanwhile:
        change(file)
    alongside.see(memoryview(content))
    assert alongside.keep() == hashlib.sha256(content).hexdigest()
    if not meanwhile:
        change(file)
    assert file_digest(file) == hashlib.sha256(b"SIXTEEN BYTES ..").hexdigest()


def test_a_file_that_is_gone_has_no_digest(file: Path) -> None:
    content, alongside = file.read_bytes(), Alongside(file)
    file.unlink()
    alongside.see(memoryview(content))
    assert alongside.keep() == hashlib.sha256(content).hexdigest()
    with pytest.raises(FileNotFoundError):
        file_digest(file)


def test_weights_that_were_scanned_are_known(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = weight_files(checkpoint)
    expected = weights_digest(files)
    monkeypatch.setattr(under_test, "_known", {})
    monkeypatch.setattr(scan, "_PIECE", 4096)
    scan_weights(files, {})
    refuse_to_read(monkeypatch)
    assert weights_digest(files) == expected
