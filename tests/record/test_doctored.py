"""A Record with a right checksum over a wrong header is refused in words, whatever was changed: random changes of
the document and of the bytes of the file.
"""

import random
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.record.file import load
from tests.support.doctored import doctored, document_in, mutated
from tests.support.reports import data_of

FOLDER = Path(__file__).parents[1] / "data" / "records"
KEPT = ("bfloat16", "deploy", "experts", "float32", "nonfinite", "summary")


def refusal(path: Path) -> str | None:
    """Why it is refused; None for one that is read, and then says something to every report."""
    try:
        data_of(load(path))
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", KEPT)
def test_any_change_of_a_header_is_read_as_a_record_or_refused_in_words(name: str, tmp_path: Path) -> None:
    source, rng = FOLDER / f"{name}.safetensors", random.Random(name)
    whole, refused = document_in(source), 0
    for _ in range(45):
        document, what = mutated(whole, rng)
        path = doctored(source, tmp_path / "r", document)
        if (text := refusal(path)) is None:
            continue
        refused += 1
        assert text.startswith(f"{path}: "), what
        assert len(text.splitlines()) <= 3, what
        assert len(text) < 1000, what
    assert refused > 25, "most of what a header says is held to something"


@pytest.mark.parametrize("name", ["bfloat16", "summary"])
def test_any_change_of_a_files_bytes_is_refused_in_words(name: str, tmp_path: Path) -> None:
    content, rng = (FOLDER / f"{name}.safetensors").read_bytes(), random.Random(name)
    path = tmp_path / "r"
    for _ in range(90):
        changed = bytearray(content)
        at = rng.randrange(rng.choice((16, 200, len(content))))
        match rng.randrange(4):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 2:
                del changed[at : at + rng.randrange(1, 40)]
            case _:
                changed[at : at + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, b'{"a":[[[', b'"\\ud800\\'))
        path.write_bytes(changed)
        text = refusal(path)
        assert len(text.splitlines()) <= 3 if text else bytes(changed) == content
