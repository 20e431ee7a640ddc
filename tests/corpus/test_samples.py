"""Samples from JSON lines, bad ones refused with their line; subsets, order and splits follow from samples alone."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.corpus.samples import Sample, assign_splits, interleaved, read_jsonl, subset
from pytest_maxact.errors import InputError
from tests.support.corpora import corpora, patient, shuffled, texts

# JSON lines


def corpus_file(folder: Path, *lines: str | bytes | dict[str, Any]) -> Path:
    path = folder / "corpus.jsonl"
    encoded = [
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    ]
    path.write_bytes(b"\n".join(encoded))
    return path


def test_jsonl_gives_texts_and_ids_in_order(tmp_path: Path) -> None:
    path = corpus_file(
        tmp_path,
        {"text": "Grüße\n", "category": "math"},
        "",
        {"input_ids": [0, 7], "category": "code", "id": "mine"},
        {"text": "x", "category": "math", "id": 5, "source": "ignored"},
    )
    assert read_jsonl(path) == [
        Sample(id=hashlib.sha256("math\0Grüße\n".encode()).hexdigest()[:12], category="math", text="Grüße\n"),
        Sample(id="mine", category="code", input_ids=(0, 7)),
        Sample(id="5", category="math", text="x"),
    ]


def test_without_an_id_a_sample_is_called_by_its_content_wherever_it_stands(tmp_path: Path) -> None:
    lines = [{"text": word, "category": "a"} for word in ("one", "two", "three", "four")]
    whole = [sample.id for sample in read_jsonl(corpus_file(tmp_path, *lines))]
    tail = [sample.id for sample in read_jsonl(corpus_file(tmp_path, *lines[2:]))]
    assert len(set(whole)) == 4
    assert whole[2:] == tail


def test_a_text_that_is_repeated_counts_as_often_and_a_null_is_no_id(tmp_path: Path) -> None:
    lines = [{"text": "one", "category": c, "id": None} for c in "aaba"]
    one, again, other, third = (sample.id for sample in read_jsonl(corpus_file(tmp_path, *lines)))
    assert (again, third) == (f"{one}-2", f"{one}-3")
    assert other not in (one, again, third)


def test_a_sample_says_where_it_was_read(tmp_path: Path) -> None:
    path = corpus_file(tmp_path, GOOD, GOOD | {"id": "mine"})
    assert read_jsonl(path, called="hook")[1].called == "mine (hook:2)"


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path: Path) -> None:
    line = json.dumps({"text": "one\u2028two\u0085three", "category": "a"}, ensure_ascii=False)
    assert read_jsonl(corpus_file(tmp_path, line + "\r", line.replace("one", "1")))[0].text == "one\u2028two\u0085three"


GOOD = {"text": "fine", "category": "a"}
BAD_LINES: dict[str, tuple[str | bytes | dict[str, Any], str]] = {
    "broken JSON": ('{"text": "a"', "not a line of UTF-8 JSON"),
    "not UTF-8": (b'{"text": "\xff\xfe", "category": "a"}', "not a line of UTF-8 JSON"),
    "a list": ("[1, 2]", "list where an object was expected"),
    "a string": ('"text"', "str where an object was expected"),
    "null": ("null", "NoneType where an object was expected"),
    "no category": ({"text": "a"}, 'no "category"'),
    "an empty category": ({"text": "a", "category": ""}, 'no "category"'),
    "a numeric category": ({"text": "a", "category": 3}, 'no "category"'),
    "text and ids": ({"text": "a", "input_ids": [1], "category": "a"}, "not both"),
    "neither": ({"category": "a"}, 'needs either a non-empty "text" or "input_ids"'),
    "an empty text": ({"text": "", "category": "a"}, 'needs either a non-empty "text"'),
    "a blank text": ({"text": " \n", "category": "a"}, 'needs either a non-empty "text"'),
    "a numeric text": ({"text": 5, "category": "a"}, 'needs either a non-empty "text"'),
    "no ids": ({"input_ids": [], "category": "a"}, '"input_ids" of whole numbers'),
    "negative ids": ({"input_ids": [3, -1], "category": "a"}, '"input_ids" of whole numbers'),
    "boolean ids": ({"input_ids": [True], "category": "a"}, '"input_ids" of whole numbers'),
    "fractional ids": ({"input_ids": [1.0], "category": "a"}, '"input_ids" of whole numbers'),
    "nested ids": ({"input_ids": [[1]], "category": "a"}, '"input_ids" of whole numbers'),
    "ids as text": ({"input_ids": "1 2", "category": "a"}, '"input_ids" of whole numbers'),
    "a number beyond all digits": ('{"input_ids": [' + "9" * 5000 + '], "category": "a"}', ""),
    "half a surrogate pair in the text": ('{"text": "a \\ud83d", "category": "a"}', ""),
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_refused_with_its_number_and_reason(
    line: str | bytes | dict[str, Any], reason: str, tmp_path: Path
) -> None:
    path = corpus_file(tmp_path, GOOD, "", line)
    with pytest.raises(InputError) as caught:
        read_jsonl(path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert reason in str(caught.value)


def test_a_repeated_id_is_refused_with_both_lines(tmp_path: Path) -> None:
    path = corpus_file(tmp_path, GOOD | {"id": "x"}, GOOD, GOOD | {"id": "x"})
    with pytest.raises(InputError, match=r"corpus\.jsonl:3: sample id 'x' is that of line 1; ids must differ"):
        read_jsonl(path)


@pytest.mark.parametrize("lines", [(), ("", "  ", "\t")], ids=["empty", "blank"])
def test_an_empty_file_is_refused(lines: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"corpus\.jsonl: the corpus is empty"):
        read_jsonl(corpus_file(tmp_path, *lines))


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(InputError, match=r"no corpus at .*\n.*without it the built-in corpus is used"):
            read_jsonl(path)


# Subset, order, splits


@patient
@given(corpora, st.integers(1, 130), st.integers(0, 5))
def test_a_subset_keeps_the_proportions_by_largest_remainder(samples: list[Sample], size: int, seed: int) -> None:
    drawn = subset(samples, size, seed)
    assert len(drawn) == len({sample.id for sample in drawn}) == min(size, len(samples))
    whole, part = Counter(s.category for s in samples), Counter(s.category for s in drawn)
    for category, count in whole.items():
        assert abs(part[category] - len(drawn) * count / len(samples)) < 1


def test_the_largest_remainder_gets_the_last_sample() -> None:
    drawn = subset(texts(a=5, b=3, c=2), 4, 0)
    assert Counter(sample.category for sample in drawn) == {"a": 2, "b": 1, "c": 1}, "shares of 2, 1.2 and 0.8"


@patient
@given(corpora, st.integers(1, 60), st.integers(0, 5), st.integers(0, 5))
def test_a_subset_does_not_depend_on_the_order_of_the_file(
    samples: list[Sample], size: int, seed: int, order: int
) -> None:
    drawn = {sample.id for sample in subset(samples, size, seed)}
    assert {sample.id for sample in subset(shuffled(samples, order), size, seed)} == drawn


def test_the_seed_decides_the_subset() -> None:
    samples = texts(a=60, b=60)
    draws = [frozenset(s.id for s in subset(samples, 20, seed)) for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_a_smaller_subset_is_part_of_a_larger_one() -> None:
    samples = texts(a=40, b=20)
    small, large = ({s.id for s in subset(samples, size, 3)} for size in (12, 30))
    assert small < large


@patient
@given(corpora, st.integers(0, 5))
def test_every_prefix_of_the_interleaving_keeps_the_proportions(samples: list[Sample], seed: int) -> None:
    """Each category is spread evenly, so it is off by half a sample, and a prefix's length by half a sample per
    category.
    """
    ordered = interleaved(shuffled(samples), seed)
    assert sorted(s.id for s in ordered) == sorted(s.id for s in samples)
    whole, part = Counter(s.category for s in samples), Counter[str]()
    for length, sample in enumerate(ordered, start=1):
        part[sample.category] += 1
        for category, count in whole.items():
            share = count / len(samples)
            assert abs(part[category] - length * share) <= 0.5 + share * len(whole) / 2 + 1e-9


def test_interleaving_depends_on_the_seed_alone() -> None:
    samples = texts(a=20, b=9)
    assert interleaved(samples, 4) == interleaved(shuffled(samples), 4) != interleaved(samples, 5)


@patient
@given(corpora.filter(lambda samples: len(samples) >= 2))
def test_a_third_is_for_calibration_in_every_category(samples: list[Sample]) -> None:
    splits = assign_splits(samples)
    assert set(splits) == {sample.id for sample in samples}
    assert set(splits.values()) == {"calibration", "evaluation"}
    assert Counter(splits.values())["calibration"] == -(-len(samples) // 3)
    for category, count in Counter(s.category for s in samples).items():
        calibration = sum(splits[s.id] == "calibration" for s in samples if s.category == category)
        assert abs(calibration - count / 3) < 1
    assert assign_splits(shuffled(samples)) == splits


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_samples_cannot_be_split(count: int) -> None:
    with pytest.raises(InputError, match="fewer than two samples; calibration and evaluation need at least one each"):
        assign_splits(texts(a=count))


def test_a_category_that_ends_early_gives_another_digest() -> None:
    digests = {Sample(id="s", category=c, text=t).digest for c, t in [("a\0b", "c"), ("a", "b\0c"), ("a\0b\0c", "")]}
    assert len(digests) == 3
    known = hashlib.sha256(b"math\0two").hexdigest()
    assert Sample(id="s", category="math", text="two").digest == known, "that of ordinary samples stays"


@pytest.mark.parametrize(
    "line",
    [
        '{"text": "t", "category": "c", "id": "a\\u001b[31mb"}',
        '{"text": "t", "category": "c\\u0000d"}',
        '{"text": "t", "category": "c", "id": "a\\nPASS: all checks hold"}',
    ],
)
def test_what_a_terminal_obeys_is_no_name(line: str, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=r"c\.jsonl:1: a control character in the id or category"):
        read_jsonl(tmp_path / "c.jsonl")


@pytest.mark.parametrize(
    "line", ['{"text": ' + "[" * 50_000, "[" * 50_000 + "]" * 50_000, '{"input_ids": [' + "9" * 5000]
)
def test_a_line_nested_too_deeply_or_too_long_a_number_is_refused_with_its_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=r"c\.jsonl:1: not a line of UTF-8 JSON"):
        read_jsonl(tmp_path / "c.jsonl")
