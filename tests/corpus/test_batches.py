"""A batch plan holds every sequence once, within its split and the budget."""

import random

from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.corpus.batches import plan_batches
from pytest_maxact.corpus.samples import assign_splits
from tests.support.corpora import encoded, patient


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
