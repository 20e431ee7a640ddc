"""The recipe for text that does not fit on a disk, word for word: its parts are added up to one Record of every line,
and a line that is lost is noticed. Ray is stood in for by what the recipe calls of it.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_maxact.cli.main import main
from pytest_maxact.record.file import load
from pytest_maxact.record.merge import merge
from tests.support.markdown import Block, blocks
from tests.support.measuring import record_of

Columns = dict[str, list[Any]]


class Dataset:
    """Of Ray: blocks of rows, worked through one after another when they are asked for. `lost`: rows that `count` knows
    of and nobody is given.
    """

    def __init__(self, blocks: Callable[[], Iterator[Columns]], lost: int = 0) -> None:
        self._blocks, self._lost = blocks, lost

    def count(self) -> int:
        return self._lost + sum(1 for _ in self.iter_rows())

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        for block in self._blocks():
            for values in zip(*block.values(), strict=True):
                yield dict(zip(block, values, strict=True))

    def repartition(self, *, target_num_rows_per_block: int, strict: bool) -> "Dataset":
        assert strict

        def cut() -> Iterator[Columns]:
            rows = list(self.iter_rows())
            for start in range(0, len(rows), target_num_rows_per_block):
                some = rows[start : start + target_num_rows_per_block]
                yield {name: [row[name] for row in some] for name in some[0]}

        return Dataset(cut)

    def map_batches(self, work: Callable[[Columns], Columns], *, batch_size: int, num_gpus: int) -> "Dataset":
        assert num_gpus == 1
        assert all(len(block["text"]) <= batch_size for block in self._blocks())
        return Dataset(lambda: map(work, self._blocks()))


def recipe() -> Block:
    (block,) = (block for block in blocks("python") if block.said == "given: ray")
    return block


def ran(corpus: Path, patch: pytest.MonkeyPatch, lines: int, lost: int = 0) -> None:
    """The recipe, over the lines of a corpus. So short a one takes smaller blocks; no other word is changed."""

    def read_json(place: str) -> Dataset:
        assert place.startswith("s3://")
        rows = [json.loads(line) for line in corpus.read_text().splitlines()]
        return Dataset(lambda: iter([{name: [row[name] for row in rows] for name in ("category", "text")}]), lost)

    def run(words: list[object], *, check: bool) -> None:
        assert check
        assert words[0] == "maxact"
        assert main([str(word) for word in words[1:]]) == 0

    patch.setitem(sys.modules, "ray", SimpleNamespace(data=SimpleNamespace(read_json=read_json)))
    patch.setattr("subprocess.run", run)
    text = recipe().text
    assert text.count("LINES = 20_000") == 1
    exec(compile(text.replace("LINES = 20_000", f"LINES = {lines}"), "recipe", "exec"), {})


@pytest.fixture(autouse=True)
def here(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "DIR").symlink_to(checkpoint)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_parts_of_all_blocks_are_one_record(
    here: Path, checkpoint: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(corpus, monkeypatch, lines=5)
    parts = [load(part) for part in sorted((here / "parts").iterdir())]
    assert sorted(len(part.provenance.samples) for part in parts) == [2, 5, 5]
    found, whole = load(here / "run.safetensors"), record_of(checkpoint, corpus)
    assert found.provenance.sample_digests == merge(parts).provenance.sample_digests
    assert found.tokens == whole.tokens
    maxima = {name: reading.max_abs for name, reading in whole.sites.items()}
    assert {name: reading.max_abs for name, reading in found.sites.items()} == pytest.approx(maxima, rel=1e-6)


def test_a_line_that_no_part_has_is_noticed(here: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        ran(corpus, monkeypatch, lines=12, lost=1)
    assert not (here / "run.safetensors").exists()
