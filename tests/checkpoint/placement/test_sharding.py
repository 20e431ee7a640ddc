"""What ranks hold of a model by transformers' own plan for it; what does not divide is refused by its name."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pytest_maxact.checkpoint.placement.sharding import entries_of_a_rank, unsharded
from tests.support import tiny


def on_meta(model_type: str, **changes: Any) -> Any:
    config = AutoConfig.for_model(model_type, **{**tiny.FAMILIES[model_type], **changes})
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("model_type", ["llama", "qwen3", "qwen2", "gemma2", "mistral", "qwen3_moe", "mixtral"])
def test_what_divides_is_split(model_type: str) -> None:
    assert unsharded(on_meta(model_type), 2) == ""


@pytest.mark.parametrize(
    ("model_type", "changes", "ranks", "why"),
    [
        ("llama", {}, 3, "channels of model.layers.0.self_attn.q_proj.weight do not divide over 3 ranks"),
        ("llama", {}, 4, "the 2 heads of model.layers.0.self_attn.k_proj do not divide over 4 ranks"),
        ("qwen3", {"num_attention_heads": 2, "head_dim": 32}, 4, "the 2 heads of model.layers.0.self_attn.q_proj"),
        ("qwen3", {"intermediate_size": 97}, 2, "the 97 channels of model.layers.0.mlp.gate_proj.weight"),
        ("qwen3_moe", {"moe_intermediate_size": 33}, 2, "channels of model.layers.0.mlp.experts.down_proj"),
        ("gpt2", {}, 2, "no plan (tp_plan) by which gpt2 is split over ranks"),
    ],
)
def test_what_does_not_divide_is_named(model_type: str, changes: dict[str, Any], ranks: int, why: str) -> None:
    if model_type == "gpt2":
        with torch.device("meta"):
            whole: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", n_layer=1, n_embd=32, n_head=2))
    else:
        whole = on_meta(model_type, **changes)
    assert why in unsharded(whole, ranks)


@pytest.mark.parametrize("model_type", ["llama", "qwen3_moe"])
def test_a_rank_holds_its_part_of_what_is_split_and_norms_and_routers_whole(model_type: str) -> None:
    whole = on_meta(model_type)
    kept = sum(p.numel() for name, p in whole.named_parameters() if "norm" in name or name.endswith("gate.weight"))
    everything = sum(parameter.numel() for parameter in whole.parameters())
    assert entries_of_a_rank(whole, 2) == kept + (everything - kept) / 2
    assert entries_of_a_rank(whole, 1) == everything
