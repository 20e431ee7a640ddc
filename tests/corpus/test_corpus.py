"""The built-in corpus is what it says; readers refuse with the line; choices depend on content and seed alone; batches
lose nothing.
"""

import json
import random
import unicodedata
from collections import Counter
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact.corpus.batches import PlannedBatch, plan_batches
from pytest_maxact.corpus.samples import (
    CATEGORIES,
    Sample,
    assign_splits,
    builtin_samples,
    interleaved,
    read_jsonl,
    subset,
)
from pytest_maxact.corpus.tokens import Sequence, decode, encode, tokenizer_digest, within_token_budget
from pytest_maxact.errors import InputError

patient = settings(deadline=None)
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


def texts(**sizes: int) -> list[Sample]:
    """Samples of distinct text, `category=count`."""
    return [
        Sample(id=f"{category}-{i:03d}", category=category, text=f"{category} text {i}")
        for category, count in sizes.items()
        for i in range(count)
    ]


def shuffled(samples: Iterable[Sample], seed: int = 1) -> list[Sample]:
    mixed = list(samples)
    random.Random(seed).shuffle(mixed)
    return mixed


corpora = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 30), min_size=1).map(
    lambda sizes: texts(**sizes)
)

# The built-in corpus


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
        Sample(id="0000001", category="math", text="Grüße\n"),
        Sample(id="mine", category="code", input_ids=(0, 7)),
        Sample(id="5", category="math", text="x"),
    ]


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


def test_the_builtin_corpus_splits_128_to_256_as_the_paper(builtin: list[Sample]) -> None:
    counts = Counter(assign_splits(builtin).values())
    assert counts["evaluation"] / counts["calibration"] == pytest.approx(256 / 128, abs=0.03)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_samples_cannot_be_split(count: int) -> None:
    with pytest.raises(InputError, match="fewer than two samples; calibration and evaluation need at least one each"):
        assign_splits(texts(a=count))


# Tokens


class LetterTokenizer:
    """One id per character, its code point; 1 and 2 are special tokens at the ends, 3 is the turn of a chat
    template.
    """

    def __init__(self, chat_template: str | None = None) -> None:
        self.chat_template = chat_template

    def __call__(self, text: str, *, add_special_tokens: bool, verbose: bool) -> dict[str, list[int]]:
        ids = [ord(char) for char in text if char != "\0"]
        return {"input_ids": [1, *ids, 2] if add_special_tokens else ids}

    def decode(self, ids: SequenceOf[int], *, skip_special_tokens: bool) -> str:
        return "".join(chr(i) for i in ids if i > 3 or not skip_special_tokens)

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool, return_dict: bool
    ) -> Any:
        assert tokenize
        assert return_dict
        ids = [code for turn in conversation for code in (3, *map(ord, f"{turn['role']}:{turn['content']}"))]
        return {"input_ids": [*ids, 3] if add_generation_prompt else ids}

    def get_vocab(self) -> dict[str, int]:
        return {"a": 97, "b": 98}


def ids_of(text: str, tokenizer: LetterTokenizer, **options: Any) -> list[int]:
    asked: dict[str, Any] = {"protocol": "paper", "max_seq_len": 100, "vocab_size": 256} | options
    (sequence,) = encode([Sample(id="s", category="a", text=text)], tokenizer, **asked)
    return list(sequence.ids)


@pytest.mark.parametrize("template", [None, "a chat"])
def test_the_paper_protocol_adds_no_token(template: str | None) -> None:
    assert ids_of("ab", LetterTokenizer(template)) == [97, 98]


def test_the_deployed_protocol_adds_special_tokens() -> None:
    assert ids_of("ab", LetterTokenizer(), protocol="deployed") == [1, 97, 98, 2]


def test_the_deployed_protocol_puts_the_text_into_a_turn_of_the_user() -> None:
    assert ids_of("ab", LetterTokenizer("a chat"), protocol="deployed") == [3, *map(ord, "user:ab"), 3]


def test_sequences_are_cut_to_the_limit() -> None:
    assert ids_of("abcdef", LetterTokenizer(), max_seq_len=4) == list(map(ord, "abcd"))
    assert ids_of("abcd", LetterTokenizer(), max_seq_len=4) == list(map(ord, "abcd"))


class Upper(LetterTokenizer):
    """A tokenizer of another vocabulary: its ids stand for capital letters from 0 on."""

    def decode(self, ids: SequenceOf[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return "".join(chr(65 + i) for i in ids)


def test_ids_are_decoded_by_their_own_tokenizer_and_encoded_by_the_models() -> None:
    sample = Sample(id="s", category="a", input_ids=(0, 2, 1))
    (text,) = decode([sample], Upper())
    assert text == Sample(id="s", category="a", text="ACB")
    assert text.digest != sample.digest
    (sequence,) = encode([text], LetterTokenizer(), protocol="paper", max_seq_len=9, vocab_size=256)
    assert sequence.ids == tuple(map(ord, "ACB"))


def test_ids_that_their_tokenizer_does_not_have_are_refused() -> None:
    size = max(Upper().get_vocab().values()) + 1
    with pytest.raises(
        InputError, match=rf"sample s of the corpus has token id {size}, its tokenizer has {size} tokens"
    ):
        decode([Sample(id="s", category="a", input_ids=(0, size))], Upper())


def test_ids_of_an_unknown_tokenizer_are_refused() -> None:
    sample = Sample(id="s7", category="a", input_ids=(0,))
    with pytest.raises(
        InputError, match=r"sample s7 of the corpus is given as input_ids.*\n.*--maxact-corpus-tokenizer"
    ):
        decode([sample], None)


def test_the_largest_id_that_the_model_embeds_is_allowed_and_the_next_refused() -> None:
    assert ids_of("ab", LetterTokenizer(), vocab_size=99) == [97, 98]
    with pytest.raises(InputError, match="the tokenizer gave token id 98 in sample s, the model embeds 98 tokens"):
        ids_of("ab", LetterTokenizer(), vocab_size=98)


def test_a_sample_without_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="sample s of the corpus has no tokens under protocol 'paper'"):
        ids_of("\0", LetterTokenizer())


def test_a_tokenizer_digest_depends_on_vocabulary_and_chat_template() -> None:
    class Larger(LetterTokenizer):
        def get_vocab(self) -> dict[str, int]:
            return {"a": 97, "c": 98}

    digests = [tokenizer_digest(t) for t in (LetterTokenizer(), LetterTokenizer(), LetterTokenizer("chat"), Larger())]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


# Token budget and batches


def encoded(lengths: list[int], category: str = "a") -> list[Sequence]:
    return [
        Sequence(sample=Sample(id=f"{category}{i:03d}", category=category, text=f"{category}{i}"), ids=(5,) * n)
        for i, n in enumerate(lengths)
    ]


@patient
@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=40),
    st.lists(st.integers(1, 40), max_size=20),
    st.integers(80, 900),
    st.integers(0, 3),
)
def test_a_token_budget_holds_whole_sequences_in_interleaved_order(
    ours: list[int], theirs: list[int], budget: int, seed: int
) -> None:
    sequences = encoded(ours, "a") + encoded(theirs, "b")
    kept = within_token_budget(sequences, budget, seed)
    order = [sample.id for sample in interleaved([s.sample for s in sequences], seed)]
    assert [s.sample.id for s in kept] == order[: len(kept)]
    assert all(s in sequences for s in kept), "none is cut"
    assert sum(map(len, kept)) <= budget
    lengths = {s.sample.id: len(s) for s in sequences}
    assert len(kept) == len(order) or sum(map(len, kept)) + lengths[order[len(kept)]] > budget


def test_a_budget_of_exactly_all_tokens_keeps_all() -> None:
    assert len(within_token_budget(encoded([10, 10, 10]), 30, 0)) == 3
    assert len(within_token_budget(encoded([10, 10, 10]), 29, 0)) == 2


def test_a_budget_below_two_samples_is_refused() -> None:
    with pytest.raises(InputError, match="--maxact-max-tokens 19 holds fewer than two samples of this corpus"):
        within_token_budget(encoded([10, 10, 10]), 19, 0)


@patient
@given(st.lists(st.integers(1, 50), min_size=2, max_size=60), st.integers(1, 200), st.integers(0, 9))
def test_a_plan_holds_every_sequence_once_within_split_and_budget(
    lengths: list[int], batch_tokens: int, order: int
) -> None:
    sequences = encoded(lengths)
    random.Random(order).shuffle(sequences)
    splits = assign_splits([s.sample for s in sequences])
    plan = plan_batches(sequences, splits, batch_tokens)
    planned = [s for batch in plan for s in batch.sequences]
    assert sorted(s.sample.id for s in planned) == sorted(s.sample.id for s in sequences)
    for batch in plan:
        assert {splits[s.sample.id] for s in batch.sequences} == {batch.split}
        ids = [s.sample.id for s in batch.sequences]
        assert ids == sorted(ids)
        padded = len(batch.sequences) * max(map(len, batch.sequences))
        assert padded <= batch_tokens or len(batch.sequences) == 1
        assert (batch.tokens, batch.padded_tokens) == (
            sum(map(len, batch.sequences)),
            padded - sum(map(len, batch.sequences)),
        )
    longest = [max(map(len, batch.sequences)) for batch in plan]
    assert longest == sorted(longest, reverse=True)
    assert plan == plan_batches(sorted(sequences, key=lambda s: s.sample.id), splits, batch_tokens), (
        "the same for any order of the file"
    )


def test_batches_are_filled() -> None:
    splits = {f"a{i:03d}": "evaluation" for i in range(10)}
    assert [len(batch.sequences) for batch in plan_batches(encoded([8] * 10), splits, 32)] == [4, 4, 2]


def test_sequences_of_similar_length_share_a_batch() -> None:
    splits = {f"a{i:03d}": "evaluation" for i in range(4)}
    plan = plan_batches(encoded([2, 30, 2, 30]), splits, 64)
    assert [[len(s) for s in batch.sequences] for batch in plan] == [[30, 30], [2, 2]]
    assert sum(batch.padded_tokens for batch in plan) == 0


def test_a_sequence_longer_than_the_budget_stands_alone() -> None:
    splits = {f"a{i:03d}": "evaluation" for i in range(3)}
    plan = plan_batches(encoded([100, 4, 4]), splits, 10)
    assert [[len(s) for s in batch.sequences] for batch in plan] == [[100], [4, 4]]


@pytest.mark.parametrize("count", [2, 3, 8])
def test_halves_hold_the_whole_in_order(count: int) -> None:
    batch = PlannedBatch(split="calibration", sequences=tuple(encoded(list(range(1, count + 1)))))
    first, second = batch.halves()
    assert first.sequences + second.sequences == batch.sequences
    assert {first.split, second.split} == {"calibration"}
    assert 0 <= len(second.sequences) - len(first.sequences) <= 1
    assert first.sequences
