"""How many scales of a KV cache there may be: one, or one a head, by whatever name a config counts them."""

from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.checkpoint.lint.look import lint
from tests.support.linting import changed

SCALES = [f"model.layers.{layer}.self_attn.{part}_scale" for layer in (0, 1) for part in "kv"]


def found(folder: Path, counts: tuple[int, int], strategy: str = "attn_head", **config: Any) -> list[str]:
    """Findings about scales of the cache; `counts`: so many in the first and the second layer. `config`: what it says
    in place of num_key_value_heads.
    """

    def plant(tensors: dict[str, Any], known: dict[str, Any]) -> None:
        for name, count in zip(SCALES, (counts[0], counts[0], *counts[1:], *counts[1:]), strict=True):
            tensors[name] = tensors[name].reshape(1).repeat(count)
        known["quantization_config"]["kv_cache_scheme"]["strategy"] = strategy
        known |= {"num_key_value_heads": None, "num_attention_heads": 4} | config

    return [
        one.what for one in lint(changed(folder / "m", "compressed FP8 kv", plant)).faults if one.code == "kv_scale"
    ]


@pytest.mark.parametrize(
    "config",
    [
        {"num_key_value_heads": 2},
        {"num_kv_heads": 2},
        {"multi_query_group_num": 2},
        {"attn_config": {"kv_n_heads": 2, "head_dim": 16}},
        {"num_attention_heads": 2},
        {"num_key_value_heads": [2, 8]},
    ],
)
def test_scales_a_head_are_as_many_as_heads_are_said_to_be(config: dict[str, Any], tmp_path: Path) -> None:
    assert found(tmp_path, (2, 2), **config) == []


def test_layers_may_have_heads_of_their_own_number(tmp_path: Path) -> None:
    own = {"num_key_value_heads": 2, "per_layer_config": {"1": {"num_key_value_heads": 8}}}
    assert found(tmp_path, (2, 8), **own) == []
    assert found(tmp_path / "global", (2, 8), num_key_value_heads=2, num_global_key_value_heads=8) == []
    assert len(found(tmp_path / "other", (2, 7), **own)) == 2


@pytest.mark.parametrize(
    ("counts", "strategy", "words"),
    [
        ((3, 2), "attn_head", "it is 3: neither one scale nor one a head, of which there are 2"),
        (
            (2, 1),
            "attn_head",
            "it is 1: config.json: quantization_config says that there is one a head, of which there are 2",
        ),
        ((1, 2), "tensor", "it is 2: config.json: quantization_config says that there is one for the tensor"),
    ],
)
def test_another_number_is_a_fault(counts: tuple[int, int], strategy: str, words: str, tmp_path: Path) -> None:
    assert found(tmp_path, counts, strategy, num_key_value_heads=2) == [words, words]
