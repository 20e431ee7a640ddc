"""Models whose linear inputs are as wide as every scheme needs."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModel

from tests.support import tiny

WIDE: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32}
_MLA: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "moe_intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 64,
    "max_position_embeddings": 256,
    "n_routed_experts": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 64,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "head_dim": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def model_of(model_type: str, dtype: torch.dtype = torch.float32, implementation: str = "eager") -> Any:
    if model_type == "deepseek_v3":
        torch.manual_seed(0)
        model = AutoModel.from_config(AutoConfig.for_model("deepseek_v3", **_MLA), dtype=torch.float32).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim >= 2:
                    parameter.normal_(0.0, 0.15)
    else:
        experts = {
            "qwen3_moe": {"moe_intermediate_size": 128},
            "mixtral": {"intermediate_size": 64},
            "gpt_oss": {"intermediate_size": 32},
        }
        model = tiny.random_model(model_type, **{**WIDE, **experts.get(model_type, {})})
    for module in model.modules():
        if hasattr(getattr(module, "config", None), "_experts_implementation"):
            module.config._experts_implementation = implementation
    return model.to(dtype)
