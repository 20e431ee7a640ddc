"""Files that a shell gives as pipes, `<(COMMAND)`: read once, their lines told under the name that was given."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.judge.statement.seal import read
from pytest_maxact.record.file import load

LOUD = "version: 1\nfamilies:\n  mine: {model_types: [qwen3], limits: {hidden: 0.5}}\n"


@pytest.fixture
def opened() -> Iterator[list[int]]:
    ends: list[int] = []
    yield ends
    for end in ends:
        os.close(end)


def piped(content: bytes, opened: list[int]) -> str:
    """The path under which the shell gives it."""
    there, here = os.pipe()
    os.write(here, content)
    os.close(here)
    opened.append(there)
    return f"/dev/fd/{there}"


def test_limits_are_read_once_and_their_lines_told_under_the_name_given(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], opened: list[int]
) -> None:
    place = piped(LOUD.encode(), opened)
    verdict = tmp_path / "verdict.json"
    assert main(["judge", str(saved), "--limits", place, "--verdict", str(verdict)]) == 1
    assert f"({place}:3)" in capsys.readouterr().out
    limits, *_ = read(verdict).predicate.details.limits
    assert (limits.uri, limits.digest.sha256) == (place, hashlib.sha256(LOUD.encode()).hexdigest())
    place = piped(b"version: 1\nfamilies: [", opened)
    assert main(["judge", str(saved), "--limits", place]) == 4
    assert f"{place}:2: malformed YAML" in capsys.readouterr().err


def test_a_corpus_is_measured_as_its_file_is(
    checkpoint: Path, corpus: Path, saved: Path, tmp_path: Path, opened: list[int]
) -> None:
    target = tmp_path / "piped.safetensors"
    place = piped(corpus.read_bytes(), opened)
    assert main(["measure", str(checkpoint), "--corpus", place, "-o", str(target)]) == 0
    assert load(target).provenance.corpus_sha256 == load(saved).provenance.corpus_sha256
    assert load(target).carrier == load(saved).carrier


def test_a_record_has_to_be_a_file_and_a_named_pipe_is_not_waited_for(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], opened: list[int]
) -> None:
    assert main(["judge", piped(b"", opened)]) == 4
    assert "is a pipe, and a Record is read from any place of a file" in capsys.readouterr().err
    named = tmp_path / "named"
    os.mkfifo(named)
    assert main(["judge", str(saved), "--limits", str(named)]) == 4
    assert "is a pipe, and no file" in capsys.readouterr().err
