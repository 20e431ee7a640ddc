"""Attention scores of a pass against plain products of queries and keys, whatever attention the model runs."""

import math
from typing import Any

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.measure.observe.scores import Scores
from pytest_maxact.measure.run import observe
from pytest_maxact.numbers.formats import FP16_MAX
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.scores import LayerScores, joined, largest_scores, score_headroom
from tests.support import tiny
from tests.support.measuring import encoded, loaded
from tests.support.zoo import configs

LENGTHS = [5, 9, 3, 12, 7, 7, 4]


def scores_of(model: Any, batch_tokens: int = 64) -> dict[int, LayerScores]:
    scores, anatomy = Scores(), resolve(model, model.config, linear_inputs=True)
    observe(loaded(model), anatomy, encoded(LENGTHS), batch_tokens, schemes=[SCHEMES["FP16"]], scores=scores)
    return {found.layer: found for found in scores.layers}


def plain_scores(model: Any) -> dict[int, tuple[float, float]]:
    """By layer, the largest score before scaling, and the product of the largest norms of a head; one sample at a time,
    from an eager attention of its own.
    """
    found: dict[int, list[tuple[float, float]]] = {}

    def note(module: Any, query: torch.Tensor, key: torch.Tensor) -> None:
        keys = key.repeat_interleave(query.shape[1] // key.shape[1], 1).double()
        largest = (query.double() @ keys.mT).abs().max().item()
        bound = (query.double().norm(dim=-1).amax(-1) * keys.norm(dim=-1).amax(-1)).max().item()
        found.setdefault(module.layer_idx, []).append((largest, bound))

    sdpa = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def attention(module: Any, query: torch.Tensor, key: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        note(module, query, key)
        return sdpa(module, query, key, *args, **kwargs)

    ALL_ATTENTION_FUNCTIONS["plain"] = attention
    was = model.config._attn_implementation
    try:
        model.config._attn_implementation = "plain"
        with torch.no_grad():
            for sequence in encoded(LENGTHS):
                model(torch.tensor([sequence.ids]), use_cache=False)
    finally:
        model.config._attn_implementation = was
        del ALL_ATTENTION_FUNCTIONS["plain"]
    return {layer: (max(a for a, _ in pairs), max(b for _, b in pairs)) for layer, pairs in found.items()}


def louder(model: Any, factor: float) -> Any:
    with torch.no_grad():
        for layer in model.layers:
            layer.self_attn.q_proj.weight *= factor
    return model


@pytest.mark.parametrize("batch_tokens", [1, 64])
@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
def test_scores_within_the_range_are_bounded_by_the_largest_norms_of_each_head(
    model_type: str, batch_tokens: int
) -> None:
    model = tiny.random_model(model_type)
    found, plain = scores_of(model, batch_tokens), plain_scores(model)
    assert list(found) == list(plain) == list(range(tiny.LAYERS))
    for layer, (largest, bound) in plain.items():
        assert not found[layer].exact
        assert largest <= found[layer].largest * (1 + 1e-5)
        assert found[layer].largest == pytest.approx(bound, rel=0.3)
        if batch_tokens == 1:
            assert found[layer].largest == pytest.approx(bound, rel=1e-4)


@pytest.mark.parametrize("batch_tokens", [1, 64])
def test_scores_whose_bound_leaves_the_range_are_read(batch_tokens: int) -> None:
    model = louder(tiny.random_model("llama"), 2e4)
    found, plain = scores_of(model, batch_tokens), plain_scores(model)
    for layer, (largest, bound) in plain.items():
        assert bound > FP16_MAX
        assert found[layer].exact
        assert found[layer].largest == pytest.approx(largest, rel=1e-4)


def test_a_bound_beyond_the_range_is_no_score_beyond_it() -> None:
    """A large query of one token and a large key of another, orthogonal: the scores are small."""
    model = tiny.random_model("llama")
    with torch.no_grad():
        for layer in model.layers:  # type: ignore[union-attr]
            layer.self_attn.q_proj.weight.zero_()  # type: ignore[union-attr,operator]
            layer.self_attn.k_proj.weight[:] *= 1e6  # type: ignore[union-attr,index,operator]
    assert all(found.largest == 0.0 for found in scores_of(model).values())


@pytest.mark.parametrize("model_type", ["gpt_oss", "gemma2", "bloom", "gptj", "mpt", "xglm", "falcon", "gpt2", "opt"])
def test_every_way_to_form_scores_is_seen(model_type: str) -> None:
    model = configs.headless(configs.build(model_type))
    found = scores_of(model)
    assert list(found) == list(range(4))
    assert all(0 < score.largest < math.inf for score in found.values())


@pytest.mark.parametrize("model_type", ["gemma2", "llama"])
def test_scores_that_are_no_number_are_infinite(model_type: str) -> None:
    model = configs.headless(configs.build(model_type))
    with torch.no_grad():
        model.layers[2].self_attn.k_proj.weight[0, 0] = math.nan  # type: ignore[union-attr,index]
    found = scores_of(model)
    assert found[1].largest < math.inf == found[2].largest


def test_scores_that_are_read_are_those_of_each_sample_alone() -> None:
    model = louder(tiny.random_model("llama"), 2e4)
    alone, together = scores_of(model, 1), scores_of(model, 64)
    for layer, found in alone.items():
        assert together[layer].largest == pytest.approx(found.largest, rel=1e-4)


def test_a_model_without_attention_has_none() -> None:
    assert scores_of(configs.headless(configs.build("mamba"))) == {}


def test_what_a_model_of_16_bits_forms_in_more_is_no_matter_of_its_range() -> None:
    model = configs.headless(configs.build("gpt_neo"))
    assert all(found.largest > 0.0 for found in scores_of(model).values())
    assert [found.largest for found in scores_of(model.bfloat16()).values()] == [0.0] * 4


def test_the_largest_of_each_layer_is_kept_and_the_shallowest_of_equals_named() -> None:
    one, two = (LayerScores(layer=0, largest=value, exact=False) for value in (3.0, 5.0))
    deep = LayerScores(layer=4, largest=5.0, exact=True)
    assert joined([deep, one, two]) == (two, deep)
    assert largest_scores([deep, two]) == two
    assert largest_scores(()) is None
    assert math.isnan(score_headroom(None))
    assert score_headroom(deep) == FP16_MAX / 5.0
