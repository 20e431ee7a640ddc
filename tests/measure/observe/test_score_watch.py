"""What is read of the products of queries and keys that a layer forms: made tensors, and plain products of them."""

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from pytest_maxact.corpus.batches import plan_batches
from pytest_maxact.measure.observe.batch import Batch, collate
from pytest_maxact.measure.observe.scores import Scores, ScoreWatch
from pytest_maxact.numbers.formats import FP16_MAX
from pytest_maxact.record.scores import LayerScores
from tests.support.measuring import encoded

LENGTHS = [5, 3]
WIDTH = 8


def batch_of(*lengths: int) -> Batch:
    sequences = encoded(list(lengths))
    (planned,) = plan_batches(sequences, {one.sample.id: "evaluation" for one in sequences}, 64)
    return collate(planned, torch.device("cpu"))


BATCH = batch_of(*LENGTHS)
REAL = BATCH.mask


def watched(
    run: Callable[[], object],
    place: tuple[int, torch.dtype] | None = (3, torch.float32),
    batch: Batch = BATCH,
) -> tuple[LayerScores, ...]:
    scores = Scores()
    with ScoreWatch(scores, batch, lambda: place):
        run()
    scores.commit(batch)
    return scores.layers


def told(run: Callable[[], object], batch: Batch = BATCH) -> tuple[float, bool]:
    ((found),) = watched(run, batch=batch)
    assert found.layer == 3
    return found.largest, found.exact


def states(heads: int, seed: int, padding: float = 1e4) -> torch.Tensor:
    """Of every head and token; those of padding are large."""
    made = torch.randn(2, heads, 5, WIDTH, generator=torch.Generator().manual_seed(seed))
    return torch.where(REAL[:, None, :, None], made, padding)


def fused(query: torch.Tensor, key: torch.Tensor) -> Callable[[], object]:
    return lambda: scaled_dot_product_attention(query, key, key, enable_gqa=query.shape[-3] != key.shape[-3])


def plain(query: torch.Tensor, key: torch.Tensor) -> tuple[float, float]:
    """The largest score, and the largest product of the norms of a head."""
    shared, scores, bounds = query.shape[1] // key.shape[1], [], []
    for sequence, length in enumerate(REAL.sum(1).tolist()):
        rows = REAL[sequence]
        for head in range(query.shape[1]):
            q, k = query[sequence, head][rows].double(), key[sequence, head // shared][rows].double()
            assert len(q) == length
            scores.append((q @ k.T).abs().max().item())
            bounds.append((q.norm(dim=1).max() * k.norm(dim=1).max()).item())
    return max(scores), max(bounds)


def test_the_batch_is_padded() -> None:
    assert BATCH.padded
    assert sorted(REAL.sum(1).tolist()) == sorted(LENGTHS)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_kernels_scores_are_bounded_head_by_head_without_padding(groups: int) -> None:
    query, key = states(4, 0), states(groups, 1)
    query[0, 1] *= 9.0
    largest, exact = told(fused(query, key))
    assert (largest, exact) == (pytest.approx(plain(query, key)[1], rel=1e-6), False)


def test_arguments_by_name_are_read_too() -> None:
    query, key = states(2, 0), states(2, 1)
    by_name = told(lambda: scaled_dot_product_attention(value=key, key=key, query=query))
    assert by_name == told(fused(query, key))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_where_a_bound_leaves_the_range_the_scores_of_that_head_are_read(groups: int) -> None:
    query, key = states(4, 0), states(groups, 1)
    query[1, 2] *= 1e5
    score, bound = plain(query, key)
    assert bound > FP16_MAX
    assert told(fused(query, key)) == (pytest.approx(score, rel=1e-5), True)


def test_a_head_within_the_range_still_counts_by_its_bound() -> None:
    query, key = torch.zeros(1, 2, 5, WIDTH), torch.zeros(1, 2, 5, WIDTH)
    query[0, 0, 0, 0], key[0, 0, 0, 1] = 1e4, 1e4  # orthogonal: every score is zero
    query[0, 1, 0, 0], key[0, 1, 0, 0] = 30.0, -20.0
    assert told(fused(query, key), batch_of(5)) == (600.0, True)


def test_of_a_head_beyond_the_range_alone_its_scores_count() -> None:
    query, key = torch.zeros(1, 2, 5, WIDTH), torch.zeros(1, 2, 5, WIDTH)
    query[0, 0, 0, 0], key[0, 0, 0, 1] = 1e4, 1e4
    assert told(fused(query, key), batch_of(5)) == (0.0, True)
    query[0, 1, 0, 0], key[0, 1, 0, 1] = FP16_MAX, 1.0
    assert told(fused(query, key), batch_of(5)) == (FP16_MAX, True)


def test_a_bound_of_the_largest_number_itself_is_within_the_range() -> None:
    query, key = torch.zeros(1, 2, 5, WIDTH), torch.zeros(1, 2, 5, WIDTH)
    query[0, 1, 0, 0], key[0, 1, 0, 1] = FP16_MAX, 1.0
    assert told(fused(query, key), batch_of(5)) == (FP16_MAX, False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_norms_of_16_bits_are_taken_in_more_and_small_ones_stay_small(dtype: torch.dtype) -> None:
    for factor in (2.0**-10, 1.0):
        query, key = (states(2, seed) * factor for seed in (0, 1))
        query, key = query.to(dtype), key.to(dtype)
        largest, exact = told(fused(query, key))
        assert (largest, exact) == (pytest.approx(plain(query, key)[1], rel=1e-6), False)


def test_a_score_that_is_no_number_is_infinite() -> None:
    query, key = states(2, 0), states(2, 1)
    query[0, 1, 2, 3] = float("nan")
    assert told(fused(query, key)) == (float("inf"), True)
    padded = states(2, 0, padding=float("nan"))
    assert told(fused(padded, key))[0] < 100


def test_heads_in_the_place_of_a_batch_are_bounded_together() -> None:
    query, key = torch.randn(3, 5, WIDTH), torch.randn(3, 5, WIDTH)
    largest, exact = told(lambda: scaled_dot_product_attention(query, key, key), batch_of(5))
    assert not exact
    assert largest >= (query @ key.mT).abs().max()
    assert largest == pytest.approx((query.norm(dim=-1).max() * key.norm(dim=-1).max()).item(), rel=1e-6)


FORMS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "matmul": lambda query, key: torch.matmul(query, key.mT),
    "@": lambda query, key: query @ key.mT,
    "einsum": lambda query, key: torch.einsum("bhqd,bhkd->bhqk", query, key),
    "bmm": lambda query, key: torch.bmm(query.flatten(0, 1), key.flatten(0, 1).mT),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("factor", [1.0, 1e5])
def test_a_products_largest_entry_is_read_and_beyond_the_range_without_padding(form: str, factor: float) -> None:
    query, key = states(4, 0, padding=10.0), states(4, 1, padding=10.0)
    query[0, 2] *= factor
    largest, exact = told(lambda: FORMS[form](query, key))
    assert exact
    score = plain(query, key)[0]
    assert largest == pytest.approx(score if factor > 1 else (query @ key.mT).abs().max().item(), rel=1e-5)


def test_padding_beyond_the_range_is_no_score() -> None:
    query, key = states(4, 0), states(4, 1)
    assert told(lambda: query @ key.mT) == (pytest.approx(plain(query, key)[0], rel=1e-5), True)


@pytest.mark.parametrize(
    "run",
    [
        lambda: torch.randn(2, 5, 8) @ torch.randn(2, 8, 6),
        lambda: torch.randn(2, 6, 8) @ torch.randn(2, 8, 5),
        lambda: torch.randn(5, 8) @ torch.randn(8, 5),
        lambda: torch.ones(2, 5, 8, dtype=torch.int64) @ torch.ones(2, 8, 5, dtype=torch.int64),
        lambda: torch.randn(2, 5, 5) + torch.randn(2, 5, 5),
    ],
)
def test_what_is_no_product_for_every_pair_of_tokens_is_none_of_them(run: Callable[[], object]) -> None:
    assert watched(run) == ()


def test_outside_all_layers_nothing_is_read() -> None:
    query, key = states(2, 0), states(2, 1)
    assert watched(fused(query, key), None) == watched(lambda: query @ key.mT, None) == ()


def test_what_a_layer_of_16_bits_forms_in_more_counts_for_nothing() -> None:
    query, key = states(2, 0), states(2, 1)
    nothing = (LayerScores(layer=1, largest=0.0, exact=True),)
    for run in (fused(query, key), lambda: query @ key.mT):
        assert watched(run, (1, torch.bfloat16)) == nothing
        assert watched(run, (1, torch.float32)) != nothing
    half = query.bfloat16(), key.bfloat16()
    assert watched(fused(*half), (1, torch.bfloat16)) != nothing


def test_a_batch_that_ran_out_of_memory_leaves_no_score() -> None:
    scores = Scores()
    scores.stage(0, 1e9, True)
    scores.rollback()
    scores.stage(0, 2.0, True)
    scores.commit(BATCH)
    assert scores.layers == (LayerScores(layer=0, largest=2.0, exact=True),)
