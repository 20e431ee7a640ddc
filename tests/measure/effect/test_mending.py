"""The linear layer that breaks predictions is found by trying, wherever it is, in few steps."""

import math
from collections.abc import Callable, Collection

import pytest

from pytest_maxact.measure.effect.mending import TRIED_FIRST, culprit
from pytest_maxact.record.effect import Effect

LIMIT = 0.1


def effect_of(shares: dict[str, float], tried: list[Collection[str]]) -> Callable[[Collection[str]], Effect]:
    """Layers that each add a share of divergence unless they stay in 16 bits."""

    def effect(kept: Collection[str]) -> Effect:
        tried.append(kept)
        kl = sum(share for name, share in shares.items() if name not in kept)
        return Effect(
            scheme="W8A8", samples=1, tokens=9, mean_kl=kl, kl_q99=kl, top1_agreement=1.0, perplexity=2.0,
            perplexity_ratio=1.0, kept=tuple(kept),
        )  # fmt: skip

    return effect


def holds(effect: Effect) -> bool:
    return effect.mean_kl <= LIMIT


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 64, 225])
@pytest.mark.parametrize("share", [1.0, math.nan, math.inf])
def test_a_single_culprit_is_found_wherever_it_stands(count: int, share: float) -> None:
    names = [f"layer{i}" for i in range(count)]
    for place in {0, count // 2, count - 1}:
        tried: list[Collection[str]] = []
        shares = dict.fromkeys(names, 0.0001) | {names[place]: share}
        assert culprit(names, effect_of(shares, tried), holds) == names[place]
        assert len(tried) <= TRIED_FIRST + 2 * math.ceil(math.log2(count)) if count > 1 else 1


def test_what_loses_most_is_tried_first() -> None:
    tried: list[Collection[str]] = []
    assert culprit(["a", "b", "c", "d"], effect_of({"b": 1.0}, tried), holds) == "b"
    assert tried == [["a"], ["b"]]


def test_of_several_culprits_one_of_them_is_told() -> None:
    shares = {f"layer{i}": 0.0 for i in range(16)} | {"layer5": 0.5, "layer12": 0.9}
    assert culprit(list(shares), effect_of(shares, []), holds) == "layer12"
