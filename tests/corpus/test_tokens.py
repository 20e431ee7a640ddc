"""Texts become token ids as the protocol says, within a budget of tokens."""

from collections.abc import Sequence as SequenceOf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.corpus.samples import Sample, interleaved
from pytest_maxact.corpus.tokens import decode, encode, tokenizer_digest, within_token_budget
from pytest_maxact.errors import InputError
from tests.support.corpora import encoded, patient


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
        assert tokenize == return_dict
        said = "".join(f"\3{turn['role']}:{turn['content']}" for turn in conversation)
        said += "\3" if add_generation_prompt else ""
        return {"input_ids": list(map(ord, said))} if tokenize else said

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
    with pytest.raises(InputError, match=r"sample s7 of the corpus is given as input_ids.*\n.*`corpus_tokenizer`"):
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
    with pytest.raises(InputError, match="`max_tokens` 19 holds fewer than two samples of this corpus"):
        within_token_budget(encoded([10, 10, 10]), 19, 0)
