"""Where a checkpoint stands among the published ones."""

import pytest

from pytest_maxact.judge.published import published, standing


def test_the_published_are_in_ascending_order() -> None:
    figures = [p.max_abs for p in published()]
    assert figures == sorted(figures)
    assert len({p.model for p in published()}) == len(published()) == 27


@pytest.mark.parametrize(
    ("max_abs", "model_type", "said"),
    [
        (548, "qwen3", "; below the 3 of its own family, qwen3 (14208 to 35328)"),
        (14208, "qwen3", "; within the 3 of its own family, qwen3 (14208 to 35328)"),
        (40_000, "qwen3", "; above the 3 of its own family, qwen3 (14208 to 35328)"),
        (1000, "gemma3_text", "; below the 2 of its own family, gemma3 (245760 to 696320)"),
        (145408, "gpt_oss", "; at the one of its own family, gpt_oss (145408)"),
    ],
)
def test_standing_names_the_range_of_the_family_it_belongs_to(max_abs: float, model_type: str, said: str) -> None:
    assert said in standing(max_abs, model_type)


def test_no_other_family_is_named_as_that_of_a_checkpoint() -> None:
    """Neighbours by magnitude are checkpoints by name; a range is that of the model's own family, or nobody's."""
    families = {one.family for one in published()}
    for model_type in ("llama", "", *sorted(families)):
        _, of_family, after = standing(548, model_type).partition("of its own family, ")
        assert bool(of_family) == (model_type in families)
        assert after.startswith(model_type if of_family else "")


def test_standing_names_the_neighbours() -> None:
    assert (
        standing(1700)
        == "larger than 5 of 27 published checkpoints: above gemma-2-9b (1664) and below Qwen3.5-27B (1848)"
    )
    assert standing(20_000).startswith(
        "larger than 19 of 27 published checkpoints: above Qwen3-8B (17664) and below Qwen2.5-32B-Instruct (22144)"
    )


def test_standing_at_either_end() -> None:
    assert standing(3.0) == "larger than 0 of 27 published checkpoints: below Qwen3.5-0.8B (122)"
    assert standing(1e6) == "larger than 27 of 27 published checkpoints: above gemma-3-27b-it (696320)"


def test_a_checkpoint_is_not_larger_than_itself() -> None:
    for checkpoint in published():
        smaller = sum(other.max_abs < checkpoint.max_abs for other in published())
        assert standing(checkpoint.max_abs).startswith(f"larger than {smaller} of 27 "), checkpoint.model
