"""A corpus cut with head and tail is measured in parts, and their Records are one again."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.record.merge import merge
from pytest_maxact.record.record import Record
from tests.support.measuring import record_of
from tests.support.tiny import sentences

LINES = [{"text": text, "category": "ab"[i % 2]} for i, (_, text) in enumerate(sentences([5, 9, 3, 12, 7]))]


Measure = Callable[[Sequence[dict[str, str]]], Record]


@pytest.fixture
def measured(checkpoint: Path, tmp_path: Path) -> Measure:
    """The Record of lines, as a file without ids."""

    def measure(lines: Sequence[dict[str, str]]) -> Record:
        (tmp_path / "corpus.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return record_of(checkpoint, tmp_path / "corpus.jsonl")

    return measure


def test_parts_made_with_head_and_tail_are_the_whole_again(measured: Measure) -> None:
    whole, joined = measured(LINES), merge([measured(LINES[2:]), measured(LINES[:2])])
    told, there = joined.provenance, whole.provenance
    assert [(name, tokens) for name, _, _, tokens in told.samples] == [(n, t) for n, _, _, t in there.samples]
    assert told.sample_digests == there.sample_digests
    assert told.text_digests == there.text_digests
    assert (told.corpus_sha256, told.tokens_sha256) == (there.corpus_sha256, there.tokens_sha256)
    assert joined.carrier.max_abs == whole.carrier.max_abs


def test_a_text_that_stands_in_another_part_under_another_category_is_refused(measured: Measure) -> None:
    again = [LINES[3] | {"category": "another"}, LINES[4]]
    with pytest.raises(InputError, match="these Records share texts"):
        merge([measured(LINES[2:4]), measured(again)])


def test_a_text_that_a_corpus_repeats_counts_as_often(measured: Measure) -> None:
    once, twice = measured(LINES[:2]), measured([*LINES[:2], LINES[1]])
    assert twice.tokens == once.tokens + 9
    assert len({name for name, *_ in twice.provenance.samples}) == 3
