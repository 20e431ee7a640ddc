"""What is kept of published checkpoints agrees with the limits that were derived from them, and with the paper."""

from pytest_maxact.judge.figures.published import published_checkpoints, published_int8, published_subsets
from pytest_maxact.judge.figures.scale import TIERS
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.schema.runs import by_layer
from pytest_maxact.judge.published import published

BY_NAME = {one.name: one for one in published_checkpoints()}


def test_the_27_checkpoints_of_the_limits_are_all_there_with_their_m() -> None:
    assert {one.model: (one.max_abs, one.carrier, one.layers) for one in published()} == {
        one.name: (one.max_abs, one.carrier, one.layers) for one in published_checkpoints()
    }
    assert len(BY_NAME) == 27


def test_maxima_by_layer_are_those_that_limits_by_layer_stand_on() -> None:
    (shipped,) = load_limits()
    seen = 0
    for family in shipped.document.families.values():
        for shape in family.shapes:
            for kind, runs in shape.by_layer.items():
                own = [
                    BY_NAME[name].maxima[kind] for name in shape.figures_of_checkpoints if kind in BY_NAME[name].maxima
                ]
                if own:
                    seen += 1
                    assert {layer: max(one[layer] for one in own) for layer in by_layer(runs)} == by_layer(runs)
    assert seen > 40


def test_the_paper_says_the_same_of_some() -> None:
    assert not any(BY_NAME["Qwen2.5-1.5B"].massive_tokens)
    assert sum(not any(one.massive_tokens) for one in BY_NAME.values() if "Instruct" not in one.name) == 4
    assert {one.model: one.sqnr_db for one in published_int8() if one.policy == "max_abs"}["Qwen2.5-7B"] == 11.9916
    assert all(len(one.max_abs) == 5 for one in published_subsets())
    inside = [one.name for one in BY_NAME.values() if any(tier.low <= one.max_abs <= tier.high for tier in TIERS)]
    assert set(BY_NAME) - set(inside) == {"Qwen3-30B-A3B"}
