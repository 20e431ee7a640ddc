"""What is left of a pass: every sequence once and in order, however batches are halved, and from wherever it is taken
up.
"""

import json

from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.corpus.batches import BatchPlan, PlannedBatch
from pytest_maxact.measure.observe.left import Left
from tests.support.measuring import encoded

SIZES = [1, 2, 3, 8, 1, 5]


def plan(sizes: list[int]) -> BatchPlan:
    sequences = iter(encoded([3 + i % 4 for i in range(sum(sizes))]))
    return [PlannedBatch(split="calibration", sequences=tuple(next(sequences) for _ in range(n))) for n in sizes]


def ran(left: Left, most: int, at_most: int = 1000) -> list[list[str]]:
    """Batches that ran where no more than `most` sequences fit, and what is left after `at_most` of them."""
    found: list[list[str]] = []
    while len(found) < at_most and (batch := left.take()):
        if len(batch.sequences) > most:
            left.halve()
        else:
            found.append([sequence.sample.id for sequence in batch.sequences])
    return found


@given(most=st.integers(1, 8), first=st.integers(0, 20))
def test_a_pass_taken_up_runs_the_batches_that_the_first_would_have_run(most: int, first: int) -> None:
    whole = ran(Left(plan(SIZES)), most)
    assert [name for batch in whole for name in batch] == [f"s{i:02d}" for i in range(sum(SIZES))]
    assert all(len(batch) <= most for batch in whole)
    before = Left(plan(SIZES))
    begun = ran(before, most, first)
    after = Left(plan(SIZES))
    assert after.restore(json.loads(json.dumps(before.state())))
    assert after.tokens == before.tokens
    assert [*begun, *ran(after, most)] == whole
    assert after.is_empty
    assert after.tokens == 0


def test_halves_differ_by_one_sequence_at_most() -> None:
    left = Left(plan([7]))
    left.take()
    left.halve()
    assert [len(batch) for batch in ran(left, 7)] == [3, 4]


def test_what_was_left_of_another_plan_is_not_gone_on_from() -> None:
    left = Left(plan(SIZES))
    assert not left.restore(Left(plan([1, 2])).state())
    assert not left.restore(Left(plan(SIZES)[::-1]).state()), "of as many batches"
    assert ran(left, 8) == ran(Left(plan(SIZES)), 8)
