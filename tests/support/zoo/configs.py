"""A tiny configuration, and a model of generic weights, for every causal language model type that runs on a CPU."""

from __future__ import annotations

import copy
import dataclasses
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto import CONFIG_MAPPING

# No two widths agree, so that a site read off the wrong tensor cannot pass by its shape.
_GENERIC: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "emb_dim"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 4),
    **dict.fromkeys(("num_decoder_layers", "num_encoder_layers"), 4),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("num_decoder_attention_heads", "num_encoder_attention_heads"), 4),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "n_inner", "dff"), 44),
    **dict.fromkeys(("dim_ff", "ffn_hidden_size", "d_inner"), 44),
    **dict.fromkeys(("moe_intermediate_size", "expert_ffn_hidden_size"), 20),
    **dict.fromkeys(
        ("shared_expert_intermediate_size", "shared_intermediate_size", "shared_experts_intermediate_size"), 28
    ),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 6),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(
        ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_target_positions", "context_length"),
        128,
    ),
    "vocab_size": 128,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 18,
    "kv_lora_rank": 14,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 6,
    "v_head_dim": 10,
    "index_topk": 32,  # more than any short text: scores of zero tie, and padding decides among them
    "index_head_dim": 16,
    "index_n_heads": 2,
    "sliding_window": 6,
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.7,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 6,
    "linear_value_head_dim": 10,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "is_decoder": True,
    "is_encoder_decoder": False,
}

_SLIDING = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
_LINEAR = ["linear_attention", "full_attention", "linear_attention", "full_attention"]
_SPARSE = ["dense", "sparse", "sparse", "sparse"]
_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 12, "mamba_expand": 2, "mamba_chunk_size": 8}
_INKLING = {
    "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding", "hybrid"],
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_head_dim": 6,
    "sliding_window_size": 6,
    "rel_extent": 16,
    "d_rel": 6,
}

_OVERRIDES: dict[str, dict[str, Any]] = {
    "afmoe": {"layer_types": _SLIDING},
    "axk2": {"gated_norm_rank": 5},
    "bailing_hybrid": {"layer_types": _LINEAR, "num_key_value_heads": 4, "num_local_experts": 8, "n_group": 2},
    "bamba": {**_MAMBA, "attn_layer_indices": [1, 3]},
    "beam": {"layer_types": _SLIDING, "mlp_layer_types": _SPARSE},
    "codegen": {"rotary_dim": 4},
    "cohere2": {"layer_types": _SLIDING},
    "cohere2_moe": {
        "layer_types": _SLIDING,
        "mlp_layer_types": _SPARSE,
        "num_shared_experts": 1,
        "prefix_dense_intermediate_size": 36,
    },
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}},
    "cpmant": {"num_attention_heads": 4, "dim_head": 8, "prompt_length": 4, "prompt_types": 4, "segment_types": 4},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 20, "moe_num_experts": 6, "moe_top_k": 2},
    },
    "deepseek_v2": {"n_shared_experts": 1},
    "deepseek_v4": {
        "num_key_value_heads": 1,
        "head_dim": 16,
        "partial_rotary_factor": 0.5,
        "layer_types": [
            "heavily_compressed_attention",
            "compressed_sparse_attention",
            "sliding_attention",
            "compressed_sparse_attention",
        ],
        "compress_rates": {"compressed_sparse_attention": 2, "heavily_compressed_attention": 4},
        "mlp_layer_types": ["hash_moe", "moe", "moe", "moe"],
        "o_groups": 2,
        "o_lora_rank": 12,
        "hc_mult": 3,
    },
    "doge": {"is_moe": True, "num_experts": 9, "num_experts_per_tok": 2},
    "dots1": {"layer_types": _SLIDING, "n_shared_experts": 1},
    "dots3_note_text": {
        "num_key_value_heads": 4,
        "layer_types": ["indexed_attention", "sliding_attention", "indexed_attention", "sliding_attention"],
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 4,
        "swa_q_lora_rank": 18,
        "swa_kv_lora_rank": 14,
        "swa_head_dim": 14,
        "swa_qk_nope_head_dim": 6,
        "swa_qk_rope_head_dim": 8,
        "swa_v_head_dim": 10,
    },
    "electra": {"embedding_size": 24},
    "ernie4_5_moe": {"moe_layer_start_index": 1, "moe_layer_end_index": 3, "moe_num_shared_experts": 1},
    "exaone4": {"layer_types": _SLIDING},
    "exaone_moe": {"layer_types": _SLIDING, "num_shared_experts": 1},
    "falcon_h1": {
        **_MAMBA,
        "mamba_d_ssm": 64,
        "ssm_out_multiplier": 0.5,
        "attention_out_multiplier": 0.6,
        "mlp_multipliers": [1.0, 0.5],
    },
    "falcon_mamba": {"state_size": 6},
    "flint": {"mlp_only_layers": [0], "layer_types": _SLIDING},
    "gemma2": {"layer_types": _SLIDING},
    "gemma3_text": {"layer_types": _SLIDING},
    "gemma3n_text": {
        "num_kv_shared_layers": 1,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        "vocab_size_per_layer_input": 128,
        "hidden_size_per_layer_input": 10,
        "activation_sparsity_pattern": [0.9, 0.0, 0.0, 0.0],
        "altup_num_inputs": 3,
        "laurel_rank": 6,
    },
    "gemma4_text": {
        "layer_types": _SLIDING,
        "global_head_dim": 12,
        "vocab_size_per_layer_input": 128,
        "hidden_size_per_layer_input": 10,
        "enable_moe_block": True,
        "top_k_experts": 2,
    },
    "gemma4_unified_text": {"layer_types": _SLIDING, "global_head_dim": 12},
    "glm4_moe_lite": {"num_key_value_heads": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "intermediate_size": 44, "window_size": 6},
    "gpt_oss": {"layer_types": _SLIDING},
    "gptj": {"rotary_dim": 4},
    "granite_swa": {"layer_types": _SLIDING},
    "granitemoe_swa": {"layer_types": _SLIDING},
    "granitemoehybrid": {**_MAMBA, "layer_types": _LINEAR},
    "hy_v4": {"indexer_types": ["full", "full", "shared", "full"], "hc_mult": 3},
    "inkling2_text": {**_INKLING, "n_layers_per_attn_res_block": 2},
    "inkling_text": {
        **_INKLING,
        "mlp_layer_types": _SPARSE,
    },
    "jamba": {
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "mamba_d_state": 6,
        "expert_layer_period": 2,
        "expert_layer_offset": 0,
    },
    "jetmoe": {"kv_channels": 8, "num_key_value_heads": 2, "num_attention_heads": 4},
    "kimi_linear": {"layer_types": _LINEAR, "num_key_value_heads": 4, "linear_head_dim": 10, "linear_num_heads": 4},
    "kolibri1": {"layer_types": _SLIDING},
    "laguna": {"layer_types": _SLIDING},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"], "num_dense_layers": 1},
    "lfm3": {"layer_types": ["conv", "sliding_attention", "full_attention", "conv"]},
    "llama4_text": {
        "intermediate_size": 20,
        "intermediate_size_mlp": 44,
        "moe_layers": [1, 3],
        "attention_chunk_size": 6,
    },
    "longcat_flash": {"num_layers": 3, "num_hidden_layers": None, "zero_expert_num": 2, "num_key_value_heads": 4},
    "mamba": {"state_size": 6},
    "mamba2": {"state_size": 12, "num_heads": 8, "head_dim": 8, "expand": 2, "n_groups": 2, "chunk_size": 8},
    "mellum": {"layer_types": _SLIDING, "mlp_layer_types": _SPARSE},
    "mimo_v2_flash": {"layer_types": _SLIDING},
    "minicpm3": {"num_key_value_heads": 4},
    "minimax": {"layer_types": _LINEAR, "block_size": 8},
    "minimax_m3_vl_text": {
        "layer_types": ["full_attention", "minimax_m3_sparse", "full_attention", "minimax_m3_sparse"],
        "mlp_layer_types": _SPARSE,
        "dense_intermediate_size": 36,
        "rotary_dim": 4,
        "index_block_size": 4,
        "index_topk_blocks": 2,
    },
    "modernbert-decoder": {"layer_types": _SLIDING, "local_attention": 8},
    "nemotron_h": {
        "layer_types": ["linear_attention", "moe", "full_attention", "mlp"],
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "ssm_state_size": 12,
        "n_groups": 2,
        "chunk_size": 8,
        "moe_shared_expert_intermediate_size": 28,
    },
    "olmo3": {"layer_types": _SLIDING},
    "olmo_hybrid": {"layer_types": _LINEAR, "linear_num_key_heads": 4},
    "opt": {"word_embed_proj_dim": 24},
    "qwen3_5_moe_text": {"layer_types": _LINEAR},
    "qwen3_5_text": {"layer_types": _LINEAR},
    "qwen3_next": {"layer_types": _LINEAR, "mlp_only_layers": [0]},
    "qwen4_exp_text": {
        "layer_types": ["linear_attention", "indexed_attention", "linear_attention", "indexed_attention"],
        "hc_count": 3,
        "hc_lowrank": 6,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 4,
        "indexer_compress_ratio": 2,
    },
    "qwen2_moe": {"mlp_only_layers": [0]},
    "qwen3_moe": {"mlp_only_layers": [0]},
    "recurrent_gemma": {
        "block_types": ("recurrent", "attention"),
        "attention_window_size": 6,
        "lru_width": 36,
        "intermediate_size": 88,
    },
    "rembert": {"input_embedding_size": 24, "output_embedding_size": 28},
    "roc_bert": {
        "pronunciation_embed_dim": 10,
        "pronunciation_vocab_size": 128,
        "shape_embed_dim": 14,
        "shape_vocab_size": 128,
    },
    "roformer": {"embedding_size": 24},
    "rwkv": {"attention_hidden_size": 36},
    "solar_open": {"n_shared_experts": 1},
    "whisper": {"max_source_positions": 20, "num_mel_bins": 10},
    "xlnet": {"d_head": 8},
    "xlstm": {"chunk_size": 4, "ffn_round_up_to_multiple_of": 4},
    "xmod": {"default_language": "en_XX"},
    "youtu": {"num_key_value_heads": 4},
    "zamba": {"layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"], "mamba_d_state": 6},
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "mamba_d_state": 12,
        "n_mamba_heads": 8,
        "chunk_size": 8,
    },
    "zaya": {
        "num_experts_per_tok": 1,
        "router_hidden_size": 10,
        "layer_types": ["hybrid", "hybrid_sliding", "hybrid", "hybrid_sliding"],
    },
}


_TYPES = """
afmoe apertus arcee aria_text axk1 axk2 bailing_hybrid bamba bart beam bert bert-generation big_bird bigbird_pegasus
biogpt bitnet blenderbot blenderbot-small bloom camembert codegen cohere cohere2 cohere2_moe cohere_compass_text cpmant
ctrl cwm data2vec-text dbrx deepseek_v2 deepseek_v3 deepseek_v32 deepseek_v4 diffllama doge dots1 dots3_note_text
electra ernie ernie4_5 ernie4_5_moe exaone4 exaone_moe falcon falcon_h1 falcon_mamba flex_olmo flint gemma gemma2
gemma3_text gemma3n_text gemma4_text gemma4_unified_text glm glm4 glm4_moe glm4_moe_lite glm_moe_dsa gpt-sw3 gpt2
gpt_bigcode gpt_neo gpt_neox gpt_neox_japanese gpt_oss gptj granite granite_swa granitemoe granitemoe_swa
granitemoehybrid granitemoeshared helium hrm_text hunyuan_v1_dense hunyuan_v1_moe hy_v3 hy_v4 hyperclovax inkling2_text
inkling_text internlm3 iquestcoder jais2 jamba jetmoe kimi_linear kolibri1 laguna lfm2 lfm2_moe lfm3 llama llama4_text
longcat_flash mamba mamba2 marian mbart megatron-bert mellum mimo_v2_flash minicpm3 minimax minimax_m2
minimax_m3_vl_text ministral ministral3 mistral mixtral modernbert-decoder moshi mpt mvp nanochat nemotron nemotron_h
olmo olmo2 olmo3 olmo_hybrid olmoe openai-gpt opt pegasus persimmon phi phi3 phimoe plbart prophetnet qwen2 qwen2_moe
qwen3 qwen3_5_moe_text qwen3_5_text qwen3_moe qwen3_next qwen4_exp_text recurrent_gemma rembert roberta
roberta-prelayernorm roc_bert roformer rwkv seed_oss smollm3 solar_open stablelm starcoder2 trocr vaultgemma whisper
xglm xlm xlm-roberta xlm-roberta-xl xlnet xlstm xmod youtu zamba zamba2 zaya
"""

# With less, every token of a Zaya model goes to the same expert.
_NOISE = {"zaya": 0.3}

# Types of a later release of the library are left out under an earlier one.
TYPES: tuple[str, ...] = tuple(name for name in _TYPES.split() if name in CONFIG_MAPPING)


def tiny(model_type: str) -> PretrainedConfig:
    """A configuration of four layers (Longcat: three) and hidden size 32 in which every kind of layer of the type
    occurs.
    """
    cls = CONFIG_MAPPING[model_type]
    fields = {field.name for field in dataclasses.fields(cls)}
    values = {name: value for name, value in _GENERIC.items() if name in fields}
    if "kv_lora_rank" in fields:
        values["num_key_value_heads"] = 4
    values |= _OVERRIDES.get(model_type, {})
    return cls(**{name: value for name, value in values.items() if value is not None})


def build(model_type: str, seed: int = 0) -> nn.Module:
    """The causal language model of `tiny(model_type)` in float32, every parameter moved off its initial zero or one; a
    model of its own each time.
    """
    return copy.deepcopy(_built(model_type, seed))


@cache
def _built(model_type: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(tiny(model_type), dtype=torch.float32).eval()
    noise = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.add_(_NOISE.get(model_type, 0.05) * torch.randn(parameter.shape, generator=noise))
        for name, buffer in model.named_buffers():
            if name.endswith(("e_score_correction_bias", "expert_bias", "balancing_biases", "layer_scalar")):
                buffer.add_(0.05 * torch.randn(buffer.shape, generator=noise))
            elif name.endswith("tid2eid"):  # the table of experts per token id, all zero without a checkpoint
                experts = torch.rand(len(buffer), _GENERIC["n_routed_experts"], generator=noise).argsort(dim=-1)
                buffer.copy_(experts[:, : buffer.shape[-1]])
    return model


def headless(model: nn.Module) -> nn.Module:
    """The module that holds the decoder layers, inside a causal language model or inside its base model."""
    base = getattr(model, "base_model", model)
    if base is model and hasattr(model, "lm_head"):  # a class whose base model prefix names no attribute of it
        base = model.model
    return getattr(base, "decoder", base)
