"""Ranks that each run a share of the batches: rank 0 has what a single process has, whatever the others met."""

import copy
from functools import cache
from typing import Any

import pytest

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.corpus.batches import plan_batches
from pytest_maxact.corpus.samples import assign_splits
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.scores import Scores
from pytest_maxact.measure.ranks.team import Team
from pytest_maxact.measure.ranks.together import Together, shares
from pytest_maxact.measure.run import observe
from pytest_maxact.numbers.schemes import SCHEMES
from tests.support import tiny
from tests.support.measuring import encoded, loaded
from tests.support.ranks import same_state, side_by_side

LENGTHS = [5, 9, 3, 12, 7, 7, 4, 11, 6, 8, 10, 5, 13, 2]
STATIC = ("W8A8_STATIC", "NVFP4", "FP8_DYNAMIC")
FACTS = {"content": "same", "weights": None}


@cache
def model_of(model_type: str) -> Any:
    """Made before any thread asks for it: seeds are of the whole process."""
    return tiny.random_model(model_type)


def seen(model_type: str, schemes: tuple[str, ...], team: Team | None = None, facts: Any = FACTS) -> Observer:
    model = copy.deepcopy(model_of(model_type))
    scores = Scores() if schemes else None
    anatomy = resolve(model, model.config, linear_inputs=bool(schemes))
    company = Together(team, lambda: facts) if team else None
    return observe(
        loaded(model), anatomy, encoded(LENGTHS), 24, schemes=[SCHEMES[name] for name in schemes], scores=scores,
        company=company,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model_type", "schemes", "ranks"),
    [
        ("qwen3", (), 2),
        ("qwen3", STATIC, 3),
        ("qwen3_moe", STATIC, 2),
        ("gemma2", ("FP16", "W8A8"), 2),
        ("qwen3_moe", ("W8A8_STATIC",), 9),
    ],
    ids=["plain", "static scales", "experts", "scores", "more ranks than batches"],
)
def test_rank_0_holds_what_one_process_sees(
    model_type: str, schemes: tuple[str, ...], ranks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = seen(model_type, schemes)
    one, *others = side_by_side(ranks, lambda team: seen(model_type, schemes, team), monkeypatch)
    assert isinstance(one, Observer), one
    same_state(one, alone)
    assert sum(one.tokens.values()) == sum(LENGTHS)
    assert all(isinstance(other, Observer) and sum(other.tokens.values()) < sum(LENGTHS) for other in others)


def test_without_the_exchange_between_the_splits_static_scales_would_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above would not notice if every rank had met the largest entries itself."""
    monkeypatch.setattr(Together, "calibrated", lambda self, fidelity: None)
    alone = seen("qwen3", STATIC)
    one, *_ = side_by_side(3, lambda team: seen("qwen3", STATIC, team), monkeypatch)
    with pytest.raises(AssertionError, match=r"fidelity/sums/.*/W8A8_STATIC"):
        same_state(one, alone)


@pytest.mark.parametrize("fact", ["content", "weights"])
def test_ranks_that_measure_different_things_are_told(fact: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def differing(team: Team) -> Observer:
        return seen("qwen3", (), team, FACTS | {fact: "here" if team.place.leads else "there"})

    model_of("qwen3")
    one, other = side_by_side(2, differing, monkeypatch)
    assert isinstance(one, MeasureError)
    assert f"rank/{fact}: here in one part of the pass and there in another" in str(one)
    assert isinstance(other, Observer)


def test_batches_are_dealt_evenly_of_each_split_and_each_once() -> None:
    sequences = encoded([17, 3, 3, 3, 9, 9, 5, 2, 2, 2, 11, 4, 4, 8, 16])
    plan = plan_batches(sequences, assign_splits([s.sample for s in sequences]), 12)
    for ranks in (1, 2, 3, 50):
        dealt = shares(plan, ranks)
        assert len(dealt) == ranks
        assert sorted(id(batch) for share in dealt for batch in share) == sorted(map(id, plan))
        for split in ("calibration", "evaluation"):
            loads = [sum(b.tokens + b.padded_tokens for b in share if b.split == split) for share in dealt]
            longest = max(b.tokens + b.padded_tokens for b in plan if b.split == split)
            assert max(loads) - min(loads) <= longest
    assert shares(plan, 1) == [plan]
