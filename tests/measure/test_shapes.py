"""What a scheme cannot quantize of a model is told when a measurement is prepared: no weights are read by then."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from pytest_maxact.checkpoint.placement.rooms import rooms
from pytest_maxact.errors import InputError
from pytest_maxact.measure.foresee import foreseen
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.numbers.caches import CACHES
from pytest_maxact.settings.settings import Settings
from tests.support import tiny
from tests.support.effects import headed
from tests.support.zoo import configs as zoo

CACHES_IN_FOUR_BITS = ("KV_INT4_PER_TOKEN_HEAD", "KV_NVFP4", "KV_NVFP4_ONE", "KV_NVFP4_4OVER6", "KV_NVFP4_4OVER6_ONE")


def settings_of(folder: Path, model: Any, how: str, schemes: Sequence[str]) -> Settings:
    checkpoint = tiny.save(folder / "model", model)
    texts = tiny.write_corpus(folder / "corpus.jsonl", tiny.sentences((9, 8, 12, 7)))
    return Settings(model=str(checkpoint), corpus=str(texts), device="cpu", **{how: tuple(schemes)})


def refusal(folder: Path, model: Any, how: str, *schemes: str) -> list[str]:
    with pytest.raises(InputError) as refused:
        prepare(settings_of(folder, model, how, schemes))
    return str(refused.value).splitlines()


def fits(folder: Path, model: Any, how: str, *schemes: str) -> None:
    assert prepare(settings_of(folder, model, how, schemes)).schemes


def built(model_type: str, **sizes: Any) -> Any:
    """One of the zoo, of other sizes."""
    known = zoo.tiny(model_type)
    kept = {name: value for name, value in known.to_dict().items() if name != "per_layer_config"}  # made of `sizes`
    return AutoModelForCausalLM.from_config(type(known).from_dict({**kept, **sizes}), dtype=torch.float32)


@pytest.mark.parametrize("how", ["schemes", "effect", "deploy"])
@pytest.mark.parametrize("name", CACHES_IN_FOUR_BITS)
def test_a_cache_that_cannot_keep_the_heads_is_refused_with_what_can(name: str, how: str, tmp_path: Path) -> None:
    why = "which a Hadamard matrix cannot rotate: it takes a power of two"
    if name != "KV_INT4_PER_TOKEN_HEAD":
        why = "no multiple of its groups of 16"
    assert refusal(tmp_path, headed("llama", head_dim=24), how, name) == [
        f"{name} cannot keep the cache of this model: layers 0-1 have heads of 24 channels, {why}",
        "  take KV_INT4, KV_FP8, KV_FP8_HEAD, KV_FP8_PER_TOKEN_HEAD, or keep the cache in 16 bits",
    ]


def test_one_of_two_schemes_at_once_is_named_alone(tmp_path: Path) -> None:
    first, second = refusal(tmp_path, headed("llama", head_dim=48), "effect", "W8A8+KV_INT4_PER_TOKEN_HEAD")
    assert first.startswith("KV_INT4_PER_TOKEN_HEAD cannot keep the cache of this model: layers 0-1 have heads of 48 ")
    assert second.startswith("  take KV_INT4, KV_NVFP4, KV_NVFP4_4OVER6, ")


def test_every_cache_keeps_heads_of_a_power_of_two(tmp_path: Path) -> None:
    fits(tmp_path, headed("llama", head_dim=16), "schemes", *CACHES)


def test_a_plan_tells_it_of_a_config_alone(tmp_path: Path) -> None:
    checkpoint = tiny.save(tmp_path / "model", headed("llama", head_dim=24))
    settings = Settings(model=str(checkpoint / "config.json"), schemes=("KV_NVFP4",), device="cpu")
    with pytest.raises(InputError, match="KV_NVFP4 cannot keep the cache of this model: layers 0-1 have heads of 24 "):
        foreseen(settings, rooms(), probe=False)


def test_layers_whose_heads_differ_are_told_apart(tmp_path: Path) -> None:
    model = built("gemma4_unified_text", head_dim=32, global_head_dim=40)
    first, _ = refusal(tmp_path, model, "schemes", "KV_NVFP4")
    assert first == (
        "KV_NVFP4 cannot keep the cache of this model: layers 1, 3 have heads of 40 channels, no multiple of its"
        " groups of 16"
    )
    model = built("gemma4_unified_text", head_dim=24, global_head_dim=40)
    first, _ = refusal(tmp_path, model, "schemes", "KV_NVFP4")
    assert "layers 0, 2 have heads of 24 channels, " in first
    assert "; layers 1, 3 have heads of 40 channels, " in first
    fits(tmp_path, built("gemma4_unified_text", head_dim=32, global_head_dim=64), "schemes", *CACHES)


def test_a_latent_state_is_kept_in_no_nvfp4_and_rotated_where_each_part_of_it_can_be(tmp_path: Path) -> None:
    model = built("deepseek_v3", kv_lora_rank=16)
    first, second = refusal(tmp_path, model, "schemes", "KV_NVFP4_4OVER6")
    assert "layers 0-3 have a state of latent attention, which vLLM keeps in no nvfp4_4over6" in first
    assert second.startswith("  take KV_INT4_PER_TOKEN_HEAD, KV_INT4, KV_FP8, ")
    fits(tmp_path, model, "schemes", "KV_INT4_PER_TOKEN_HEAD", "KV_FP8")
    first, _ = refusal(tmp_path, built("deepseek_v3", kv_lora_rank=24), "schemes", "KV_INT4_PER_TOKEN_HEAD")
    assert "heads of 24 channels" in first


def test_a_width_that_groups_do_not_divide_is_refused_where_the_scheme_is_to_run(tmp_path: Path) -> None:
    first, second = refusal(tmp_path, headed("llama", intermediate_size=72), "effect", "MXFP4A16")
    assert first == (
        "MXFP4A16 cannot quantize layers.0.mlp.down_proj (layers.0.down_in): 72 is no multiple of its groups of 32"
    )
    assert second == "  choose another scheme; `schemes` reports one without gating or running it"
    fits(tmp_path, headed("llama", intermediate_size=72), "schemes", "MXFP4A16")


def test_experts_whose_matrices_are_stacked_are_refused_as_linear_layers_are(tmp_path: Path) -> None:
    first, _ = refusal(tmp_path, headed("mixtral", intermediate_size=72), "deploy", "NVFP4")
    assert first == (
        "NVFP4 cannot quantize layers.0.mlp.experts (layers.0.down_in): 72 is no multiple of its groups of 16"
    )


def test_a_scheme_that_would_report_nothing_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 72, "intermediate_size": 72, "head_dim": 36, "num_attention_heads": 2}
    first, second = refusal(tmp_path, headed("llama", **sizes), "schemes", "W8A8", "NVFP4A16")
    assert first == (
        "NVFP4A16 fits none of 14 weights, the first layers.0.self_attn.q_proj (layers.0.qkv_in): 72 is no"
        " multiple of its groups of 16"
    )
    assert second == "  name other schemes with `schemes`"
