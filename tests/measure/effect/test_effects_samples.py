"""Which samples are predicted: categories take turns until there are enough tokens."""

from pytest_maxact import corpus
from pytest_maxact.corpus.samples import Sample
from pytest_maxact.corpus.tokens import Sequence as Encoded
from pytest_maxact.measure.effect.effects import (
    EFFECT_TOKENS,
    evaluation_samples,
)
from tests.support.effects import split


def long_samples(category: str, count: int, length: int) -> list[Encoded]:
    return [
        Encoded(sample=Sample(id=f"{category}{i:03d}", category=category, text=f"{category}{i}"), ids=(1,) * length)
        for i in range(count)
    ]


def test_categories_take_turns_until_there_are_enough_tokens() -> None:
    sequences = [*long_samples("math", 30, 1000), *long_samples("code", 30, 500), *long_samples("web", 3, 100)]
    chosen = evaluation_samples(sequences)
    assert evaluation_samples(sequences[::-1]) == chosen
    splits = corpus.assign_splits([s.sample for s in sequences])
    evaluation = {
        c: sorted(s.sample.id for s in sequences if s.sample.category == c and splits[s.sample.id] == "evaluation")
        for c in ("code", "math", "web")
    }
    turns = [evaluation[c][turn] for turn in range(20) for c in evaluation if turn < len(evaluation[c])]
    assert [s.sample.id for s in chosen] == turns[: len(chosen)]
    assert sum(map(len, chosen[:-1])) < EFFECT_TOKENS <= sum(map(len, chosen))


def test_one_sample_is_taken_however_long() -> None:
    sequences = long_samples("math", 6, 2 * EFFECT_TOKENS)
    assert len(evaluation_samples(sequences)) == 1


def test_all_are_taken_where_there_are_few() -> None:
    sequences = long_samples("math", 9, 10)
    assert [s.sample.id for s in evaluation_samples(sequences)] == sorted(
        s.sample.id for s in split(sequences, "evaluation")
    )
