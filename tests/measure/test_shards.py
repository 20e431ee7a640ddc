"""A measurement cut into parts of its batches: their sum is the whole, in every count, and a part alone is none."""

import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.record.file import load, save
from pytest_maxact.record.merge import merge
from pytest_maxact.record.reading import distributions_of
from pytest_maxact.record.record import Record
from tests.support import tiny
from tests.support.measuring import as_parts_add_up, record_of

PARTS = 3


def parts_of(model: Path, corpus: Path, parts: int = PARTS, **options: object) -> list[Record]:
    return [record_of(model, corpus, shard=f"{part}/{parts}", **options) for part in range(1, parts + 1)]


@pytest.fixture(scope="module", params=["qwen3", "qwen3_moe", "gemma2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("sharded") / request.param, tiny.random_model(request.param))


def test_the_parts_merge_to_the_record_of_one_process_in_any_order(model: Path, corpus: Path) -> None:
    options = {"batch_tokens": 24, "schemes": ("W8A8", "FP8_DYNAMIC")}
    whole = as_parts_add_up(record_of(model, corpus, **options))
    parts = parts_of(model, corpus, **options)
    assert whole.provenance.batching["batches"] > PARTS
    assert all(0 < part.tokens < whole.tokens for part in parts)
    random.Random(0).shuffle(parts)
    merged = merge(parts)
    assert merged.provenance == whole.provenance
    assert merged.predictions == whole.predictions
    for name, reading in whole.sites.items():
        ours, theirs = (distributions_of(record.sites[name]) for record in (merged, whole))
        assert replace(merged.sites[name], held=ours) == replace(reading, held=ours), name
        assert replace(ours, schemes={}) == replace(theirs, schemes={}), name
        for scheme, sums in theirs.schemes.items():
            # sums of float64 over other batches in turn differ in their last bits, counts do not
            for key, value in asdict(sums).items():
                expected = pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
                assert getattr(ours.schemes[scheme], key) == expected, (name, scheme, key)


def test_without_schemes_they_merge_to_it_bit_for_bit(checkpoint: Path, corpus: Path) -> None:
    parts = parts_of(checkpoint, corpus, batch_tokens=24)
    whole = record_of(checkpoint, corpus, batch_tokens=24)
    assert merge([parts[1], parts[2], parts[0]]) == as_parts_add_up(whole) != whole


def test_parts_of_a_part_each_hold_what_their_splits_are_in_the_whole(checkpoint: Path, corpus: Path) -> None:
    whole = {sample[0]: sample for sample in record_of(checkpoint, corpus, batch_tokens=24).provenance.samples}
    parts = parts_of(checkpoint, corpus, batch_tokens=24)
    found = [sample for part in parts for sample in part.provenance.samples]
    assert sorted(found) == sorted(whole.values())
    assert [part.provenance.shard for part in parts] == ["1/3", "2/3", "3/3"]


@pytest.fixture(scope="module")
def parts(checkpoint: Path, corpus: Path) -> list[Record]:
    return parts_of(checkpoint, corpus, batch_tokens=24)


def test_a_missing_part_is_named_by_its_number(parts: list[Record]) -> None:
    with pytest.raises(InputError, match=r"of 3 parts 1 is missing: 2\n.* 2/3"):
        merge([parts[2], parts[0]])


def test_a_part_given_twice_is_named_by_its_number(parts: list[Record]) -> None:
    with pytest.raises(InputError, match="part 2 of 3 is given twice"):
        merge([*parts, parts[1]])


def test_parts_of_two_cuts_do_not_merge(parts: list[Record], checkpoint: Path, corpus: Path) -> None:
    other = replace(parts[1], provenance=replace(parts[1].provenance, shard="2/2"))
    with pytest.raises(InputError, match="one is part 1 of 3, another part 2 of 2"):
        merge([parts[0], other])
    with pytest.raises(InputError, match="one is part 1 of 3, another a whole"):
        merge([parts[0], record_of(checkpoint, corpus, batch_tokens=24)])


def test_a_part_alone_is_not_taken_for_a_whole(parts: list[Record], tmp_path: Path) -> None:
    save(parts[0], tmp_path / "part")
    with pytest.raises(InputError, match="part 1 of 3 of a measurement, which alone says nothing of the whole"):
        load(tmp_path / "part")
    assert load(tmp_path / "part", part=True) == parts[0]


def test_more_parts_than_batches_and_effects_of_a_part_are_refused(checkpoint: Path, corpus: Path) -> None:
    with pytest.raises(InputError, match=r"this corpus makes 2 batches of 8192 tokens, so it has 2 parts at most"):
        record_of(checkpoint, corpus, shard="3/3")
    with pytest.raises(InputError, match="does not add up over parts"):
        record_of(checkpoint, corpus, shard="1/2", effect=("W8A8",))
    with pytest.raises(
        InputError, match="W8A8_STATIC, NVFP4 takes its scales from the calibration samples of all parts"
    ):
        record_of(checkpoint, corpus, shard="1/2", schemes=("W8A8", "W8A8_STATIC", "NVFP4"))


def test_the_corpus_of_another_checkpoint_is_taken_over_whole(checkpoint: Path, corpus: Path) -> None:
    from pytest_maxact.settings.settings import Settings

    settings = Settings(model=str(checkpoint), corpus=str(corpus), batch_tokens=24, shard="2/3")
    first = prepare(settings)
    assert prepare(settings, first).sequences == first.sequences
    assert len(first.sequences) < len(first.whole)
