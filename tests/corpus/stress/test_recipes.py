"""The stress set: recipes for every kind of tokenizer, the same for the same seed, of tokens that a model embeds."""

from typing import Any

import pytest

from pytest_maxact.corpus.samples import Sample
from pytest_maxact.corpus.stress import recipes
from pytest_maxact.corpus.stress.recipes import Vocabulary, vocabulary_of
from pytest_maxact.corpus.tokens import Sequence
from tests.support import tiny

ROWS = 64
TEMPLATE = "{% for m in messages %}w1 {{ m.content }} {% endfor %}"
TEXT = [
    Sequence(sample=Sample(id=f"s{i}", category="ab"[i % 2], text=str(i)), ids=tuple(range(4 + i, 40)))
    for i in range(6)
]


def vocabulary(tokenizer: Any, rows: int = ROWS) -> Vocabulary:
    return vocabulary_of(tokenizer, [float(rows - token) for token in range(rows)])


def everything(known: Vocabulary, seed: int = 0, context: int = 64) -> list[Sequence]:
    return [
        *recipes.first_tokens(known, 1000),
        *recipes.repeated(known, [5], 8, context),
        *recipes.paired(known, TEXT, context),
        *recipes.strained(known, TEXT, context, seed),
        *recipes.whole_context(known, TEXT, 5, context, seed),
    ]


TOKENIZERS: dict[str, Any] = {
    "with a BOS": lambda: tiny.word_tokenizer(bos=True),
    "characters": tiny.character_tokenizer,
    "without a BOS": lambda: _without_bos(tiny.word_tokenizer()),
    "with a template": lambda: _with_template(tiny.word_tokenizer(), TEMPLATE),
    "with a template that raises": lambda: _with_template(tiny.word_tokenizer(), "{{ raise_exception('no') }}"),
}  # fmt: skip


def _without_bos(tokenizer: Any) -> Any:
    tokenizer.bos_token = None
    return tokenizer


def _with_template(tokenizer: Any, template: str) -> Any:
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_kind_of_tokenizer_has_a_stress_set(name: str) -> None:
    made = everything(vocabulary(TOKENIZERS[name]()))
    assert len({sequence.sample.id for sequence in made}) == len(made)
    assert all(1 <= len(sequence) <= 64 and set(sequence.ids) <= set(range(ROWS)) for sequence in made)
    found = {sequence.sample.category for sequence in made}
    always = {"first token", "one token repeated", "random", "rare tokens", "delimiters", "scripts", "full context"}
    assert always <= found
    has_bos = name != "without a BOS"
    assert ({"BOS", "with BOS", "without BOS"} <= found) == has_bos


def test_a_seed_decides_all_of_it() -> None:
    known = vocabulary(tiny.word_tokenizer())
    assert everything(known) == everything(known)
    assert [s.ids for s in everything(known)] != [s.ids for s in everything(known, seed=1)]


def test_every_token_is_tried_first_and_of_too_many_a_spread_with_all_special_ones() -> None:
    known = vocabulary(tiny.word_tokenizer())
    assert [s.ids for s in recipes.first_tokens(known, 64)[:-1]] == [(token,) for token in known.ids]
    some = {s.ids[0] for s in recipes.first_tokens(known, 16)}
    assert set(known.special) <= some
    assert len(some) <= 16 + len(known.special)
    assert max(some) > 55


def test_tokens_that_a_model_has_no_row_for_are_left_alone() -> None:
    known = vocabulary(tiny.word_tokenizer(), rows=20)
    assert known.ids == tuple(range(20))
    assert all(max(sequence.ids) < 20 for sequence in everything(known) if sequence.sample.category != "without BOS"
               and sequence.sample.category not in ("with BOS", "full context", "rare tokens"))  # fmt: skip


def test_rare_tokens_are_those_of_the_shortest_and_the_longest_embeddings() -> None:
    known = vocabulary(tiny.word_tokenizer())
    assert known.by_norm()[:3] == [63, 62, 61]
    rare = [s.ids for s in recipes.strained(known, TEXT, 64, 0) if s.sample.category == "rare tokens"]
    assert tuple(range(63, 31, -1)) in rare
    assert any(ids[8:] == (63,) and any(ids[:8] == one.ids[:8] for one in TEXT) for ids in rare)


def test_the_same_samples_stand_with_and_without_a_bos() -> None:
    bos = [Sequence(sample=s.sample, ids=(1, *s.ids)) for s in TEXT]
    for given in (TEXT, bos):
        pairs = recipes.paired(vocabulary(tiny.word_tokenizer(bos=True)), given, 64)
        without = [s.ids for s in pairs if s.sample.category == "without BOS"]
        assert [(1, *ids) for ids in without] == [s.ids for s in pairs if s.sample.category == "with BOS"]
        assert sorted(without) == sorted(s.ids for s in TEXT)
