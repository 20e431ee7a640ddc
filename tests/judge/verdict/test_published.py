"""Where a checkpoint stands among the published ones."""

from itertools import pairwise

import pytest

from pytest_maxact.judge.published import TIERS, published, standing


def test_the_published_are_in_ascending_order() -> None:
    figures = [p.max_abs for p in published()]
    assert figures == sorted(figures)
    assert len({p.model for p in published()}) == len(published()) == 27


def test_tiers_do_not_overlap() -> None:
    assert all(lower.low < lower.high < upper.low for lower, upper in pairwise(TIERS))


@pytest.mark.parametrize(
    ("model", "members"),
    [
        ("Qwen3.5-0.8B", "Qwen3.5, MoE"),
        ("gemma-2-9b", "small Gemma"),
        ("gemma-2b", "small Gemma"),
        ("Qwen2.5-VL-3B", "Qwen2.5, Qwen3 dense, Ling"),
        ("Qwen3-32B", "Qwen2.5, Qwen3 dense, Ling"),
        ("gpt-oss-20b", "gpt-oss-20b, gemma-2-27b"),
        ("gemma-2-27b", "gpt-oss-20b, gemma-2-27b"),
        ("gemma-3-4b-it", "Gemma3"),
        ("gemma-3-27b-it", "Gemma3"),
    ],
)
def test_the_lowest_and_highest_of_a_tier_are_in_its_range(model: str, members: str) -> None:
    (max_abs,) = (checkpoint.max_abs for checkpoint in published() if checkpoint.model == model)
    assert standing(max_abs).endswith(f"; in the range of {members}")


def test_standing_names_the_neighbours_and_the_tier() -> None:
    assert (
        standing(1700)
        == "larger than 5 of 27 published checkpoints: above gemma-2-9b (1664) and below Qwen3.5-27B (1848); in the"
        " range of small Gemma"
    )
    assert standing(20_000).startswith(
        "larger than 19 of 27 published checkpoints: above Qwen3-8B (17664) and below Qwen2.5-32B-Instruct (22144)"
    )
    assert standing(50_000).endswith("below gpt-oss-20b (145408)"), "between tiers"


def test_standing_at_either_end() -> None:
    assert standing(3.0) == "larger than 0 of 27 published checkpoints: below Qwen3.5-0.8B (122)"
    assert standing(1e6) == "larger than 27 of 27 published checkpoints: above gemma-3-27b-it (696320)"


def test_a_checkpoint_is_not_larger_than_itself() -> None:
    for checkpoint in published():
        smaller = sum(other.max_abs < checkpoint.max_abs for other in published())
        assert standing(checkpoint.max_abs).startswith(f"larger than {smaller} of 27 "), checkpoint.model
