"""The built-in corpus has the size, the proportions and the scripts that it promises."""

import unicodedata
from collections import Counter

import pytest

from pytest_maxact.corpus.samples import CATEGORIES, Sample, assign_splits, builtin_samples

PAPER_SAMPLES = {
    "math": 850,
    "code": 850,
    "web_english": 850,
    "knowledge": 850,
    "chinese": 400,
    "minority_scripts": 300,
    "web_other": 900,
}
"""arXiv 2605.15572: how the 5 000 samples divide into categories."""


@pytest.fixture(scope="module")
def builtin() -> list[Sample]:
    return builtin_samples()


def test_the_builtin_corpus_has_the_size_it_promises(builtin: list[Sample]) -> None:
    """Tokens by a rough proxy, as tokenizers differ: 4.5 UTF-8 bytes each, more than any current one takes on
    English.
    """
    assert len(builtin) >= 240
    assert sum(len((sample.text or "").encode()) for sample in builtin) / 4.5 >= 150_000


def test_the_builtin_corpus_has_the_paper_proportions(builtin: list[Sample]) -> None:
    counts = Counter(sample.category for sample in builtin)
    assert set(counts) == set(CATEGORIES) == set(PAPER_SAMPLES)
    for category, published in PAPER_SAMPLES.items():
        assert counts[category] == pytest.approx(len(builtin) * published / 5000, abs=1.5), category


def test_the_builtin_corpus_spans_ten_scripts(builtin: list[Sample]) -> None:
    """A script counts with 300 letters; a letter's script is the first word of its Unicode name."""
    letters = Counter(char for sample in builtin for char in sample.text or "" if char.isalpha())
    scripts: Counter[str] = Counter()
    for char, count in letters.items():
        scripts[unicodedata.name(char, "UNNAMED").split()[0]] += count
    spoken = {script for script, count in scripts.items() if count >= 300}
    assert {"LATIN", "CYRILLIC", "ARABIC", "CJK", "DEVANAGARI"} <= spoken
    assert len(spoken) >= 10, spoken
    assert scripts["UNNAMED"] == 0


def test_no_builtin_sample_is_empty_or_given_twice(builtin: list[Sample]) -> None:
    for values in ([s.id for s in builtin], [s.text for s in builtin], [s.digest for s in builtin]):
        assert len(set(values)) == len(builtin)
    assert all(sample.text and len(sample.text) >= 200 for sample in builtin)
    assert not any("%%%" in (sample.text or "") for sample in builtin), "a header that was not taken for one"


def test_the_builtin_corpus_is_the_same_every_time(builtin: list[Sample]) -> None:
    assert builtin_samples() == builtin


def test_a_digest_depends_on_text_and_category_alone() -> None:
    one = Sample(id="1", category="a", text="x")
    assert one.digest == Sample(id="2", category="a", text="x").digest
    assert (
        len({one.digest, Sample(id="1", category="b", text="x").digest, Sample(id="1", category="a", text="y").digest})
        == 3
    )
    assert (
        Sample(id="1", category="a", input_ids=(1, 23)).digest != Sample(id="1", category="a", input_ids=(12, 3)).digest
    )


# Subset, order, splits


def test_the_builtin_corpus_splits_128_to_256_as_the_paper(builtin: list[Sample]) -> None:
    counts = Counter(assign_splits(builtin).values())
    assert counts["evaluation"] / counts["calibration"] == pytest.approx(256 / 128, abs=0.03)
