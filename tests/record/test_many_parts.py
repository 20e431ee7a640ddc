"""Ten thousand parts merge to the whole exactly, in memory that grows with the text and not with their number."""

import random
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.record.merge import merge
from pytest_maxact.record.provenance import corpus_digest, merged_tokens
from pytest_maxact.record.record import Record
from tests.support import records

SAMPLES = 10_000
SITES = ("final_norm",)
LOWEST, SPREAD = 16_000, 700
NUMBER = 100
"""Bytes that the number of a part takes, by which a missing or a doubled one is told."""


def part(samples: range, number: int, parts: int, whole: Record) -> Record:
    """Each sample puts as many entries as its number tells into a bin that is told by it too."""
    names = [f"s{sample:05d}" for sample in samples]
    digests = tuple(map(records.digest_of, names))
    counts = Counter(LOWEST + sample % SPREAD for sample in samples for _ in range(sample % 5 + 1))
    bins = sorted(counts)
    seen = Histogram("bfloat16", np.array(bins, np.uint16), np.array([counts[place] for place in bins], np.int64))
    top = max(samples, key=lambda sample: (sample % SPREAD, -sample))
    sites = {
        name: replace(
            records.holding(whole[name], evaluation=seen),
            peaks=(replace(whole[name].peaks[0], value=float(top % SPREAD), sample=f"s{top:05d}"),),
        )
        for name in SITES
    }
    provenance = replace(
        whole.provenance,
        samples=tuple(
            (name, "math", "evaluation", sample % 5 + 1) for name, sample in zip(names, samples, strict=True)
        ),
        sample_digests=digests,
        corpus_sha256=corpus_digest(digests),
        tokens_sha256=merged_tokens(digests),
        batching={"batch_tokens": 8192, "batches": 1, "padded_tokens": number},
        shard=f"{number}/{parts}",
    )
    return replace(whole, provenance=provenance, sites=sites)


def parts_of(parts: int) -> Iterator[Record]:
    whole = records.record_of([records.Measured(id="s", values={name: [[1.0]] for name in SITES})])
    size = SAMPLES // parts
    numbers = list(range(parts))
    random.Random(0).shuffle(numbers)
    for number in numbers:
        yield part(range(number * size, (number + 1) * size), number + 1, parts, whole)


def merged(parts: int) -> tuple[Record, int]:
    """The whole of so many parts, and the bytes that adding it up took at most."""
    tracemalloc.start()
    try:
        return merge(parts_of(parts)), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_ten_thousand_parts_merge_exactly_and_take_the_memory_of_a_hundred() -> None:
    (few, least), (many, most) = merged(100), merged(SAMPLES)
    assert most < 1.1 * least + NUMBER * SAMPLES, (most, least)
    dense = np.zeros(1 << 15, np.int64)
    for sample in range(SAMPLES):
        dense[LOWEST + sample % SPREAD] += sample % 5 + 1
    for name in SITES:
        assert np.array_equal(many[name].evaluation.dense(), dense)
        assert [peak.sample for peak in many[name].peaks] == [f"s{699 + SPREAD * i:05d}" for i in range(10)]
    assert many.tokens == sum(sample % 5 + 1 for sample in range(SAMPLES))
    provenance = many.provenance
    assert [sample[0] for sample in provenance.samples] == [f"s{sample:05d}" for sample in range(SAMPLES)]
    assert provenance.batching == {
        "batch_tokens": 8192,
        "batches": SAMPLES,
        "padded_tokens": SAMPLES * (SAMPLES + 1) // 2,
    }
    assert replace(provenance, batching={}) == replace(few.provenance, batching={})
