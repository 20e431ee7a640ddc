"""GGUF files of every architecture that transformers reads: the tensors of a tiny model as llama.cpp's converter lays
them out, under the names of the package gguf, with the words that a config is made of.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from gguf import MODEL_ARCH_NAMES, GGMLQuantizationType, GGUFWriter, get_tensor_name_map
from gguf.quants import quantize
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations import GGUF_CONFIG_MAPPING

from tests.support import tiny
from tests.support.exports.gguf import add_tokenizer
from tests.support.exports.source import Tensors

Change = Callable[[str, torch.Tensor, Any], torch.Tensor]
_SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head"), 4),
    **dict.fromkeys(("intermediate_size", "n_inner"), 96),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 64),
    "vocab_size": 64, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": False,
    "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_DELTA: dict[str, Any] = {
    "layer_types": ["linear_attention", "full_attention"], "full_attention_interval": 2, "linear_num_key_heads": 2,
    "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4,
    "rope_parameters": {
        "rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 0], "mrope_interleaved": True,
        "partial_rotary_factor": 0.25,
    },
}  # fmt: skip
_OVER: dict[str, dict[str, Any]] = {
    "qwen2_moe": {"shared_expert_intermediate_size": 5632, "moe_intermediate_size": 1408},
    "qwen3": {"head_dim": 128},
    "qwen3_moe": {"moe_intermediate_size": 768},
    "phi3": {"vocab_size": 32064},
    "gpt2": {"n_inner": None, "n_positions": 1024, "n_ctx": 1024, "max_position_embeddings": 1024},
    "gemma2": {"tie_word_embeddings": True},
    "falcon": {"multi_query": True, "new_decoder_architecture": False, "tie_word_embeddings": True},
    "bloom": {"tie_word_embeddings": True},
    "stablelm": {"use_qkv_bias": True, "qk_layernorm": False},
    "mamba": {"intermediate_size": 128, "state_size": 16, "time_step_rank": 4, "conv_kernel": 4},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False, "conv_L_cache": 3},
    "qwen3_5_text": _DELTA,
    "qwen3_5_moe_text": {**_DELTA, "shared_expert_intermediate_size": 32},
}
ARCHITECTURES: dict[str, str] = {
    "llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen2_moe": "qwen2moe", "qwen3": "qwen3",
    "qwen3_moe": "qwen3moe", "falcon": "falcon", "phi3": "phi3", "bloom": "bloom", "stablelm": "stablelm",
    "gpt2": "gpt2", "starcoder2": "starcoder2", "mamba": "mamba", "nemotron": "nemotron", "gemma2": "gemma2",
    "gemma3_text": "gemma3", "minimax_m2": "minimax-m2", "lfm2": "lfm2",
    "qwen3_5_text": "qwen35", "qwen3_5_moe_text": "qwen35moe",
}  # fmt: skip
"""By a type of model, what its files call it."""


def source(folder: Path, model_type: str, **overrides: Any) -> Path:
    """A tiny checkpoint in bfloat16, no parameter of it one or zero, and of every one entries that are almost zero."""
    torch.manual_seed(0)
    sizes = {**_SIZES, **_OVER.get(model_type, {}), **overrides}
    if model_type in ("falcon", "bloom"):
        del sizes["head_dim"]
    config = AutoConfig.for_model(model_type, **sizes)
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.15 + (parameter.ndim == 1) * 0.5)
            if parameter.ndim == 1 or name.endswith("A_log"):
                parameter *= 10.0 ** (-8 * torch.rand(parameter.shape))
            else:
                parameter[..., 0] *= 1e-4
    return tiny.save(folder, model)


def export(
    file: Path, origin: Path, kinds: Callable[[str], str] = lambda name: "Q8_0", tokenizer: bool = False
) -> Path:  # fmt: skip
    """The file of a source; `kinds`: in what type a matrix lies, by its name there; `tokenizer`: with one of 258
    tokens in it.
    """
    model: Any = AutoModelForCausalLM.from_pretrained(origin, dtype=torch.bfloat16)
    config = model.config
    architecture = ARCHITECTURES[config.model_type]
    writer = GGUFWriter(file, architecture)
    _add_config(writer, config, architecture, tokenizer)
    for name, tensor in laid_out(dict(model.state_dict()), config):
        low = tensor.ndim > 1 and tensor.shape[-1] % 32 == 0 and "gate_inp" not in name
        kind = GGMLQuantizationType[kinds(name) if low else "F32"]
        writer.add_tensor(name, quantize(tensor.float().contiguous().numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def laid_out(tensors: Tensors, config: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor by the name and in the form that it has in a file."""
    architecture = ARCHITECTURES[config.model_type]
    arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == architecture)
    known = get_tensor_name_map(arch, config.num_hidden_layers)
    change = _CHANGES.get(config.model_type, lambda name, tensor, config: tensor)
    tied = config.tie_word_embeddings or architecture in ("falcon", "bloom")
    for key, tensor in tensors.items():
        if tied and key == "lm_head.weight":
            continue
        halves = {key: tensor.float()}
        if key.endswith("experts.gate_up_proj"):
            before = key.removesuffix("gate_up_proj")
            halves = {f"{before}{n}_proj": x.float() for n, x in zip(("gate", "up"), tensor.chunk(2, 1), strict=True)}
        for name, values in halves.items():
            yield _called(name, known), change(name, values, config)


def _called(name: str, known: Any) -> str:
    layer = name.removeprefix("model.layers.").partition(".")[0]
    if name.endswith("e_score_correction_bias"):
        return f"blk.{layer}.exp_probs_b.bias"
    if name.endswith("linear_attn.dt_bias"):
        return f"blk.{layer}.ssm_dt.bias"
    places = (known.get_name(one, try_suffixes=(".weight", ".bias")) for one in (name, name.partition(".")[2]))
    place: str = next(filter(None, places))
    whole = place.endswith((".weight", ".bias", "ssm_a", "ssm_d"))
    return place if whole else f"{place}.{'bias' if name.endswith('bias') else 'weight'}"


def _rotated(name: str, tensor: torch.Tensor, config: Any) -> torch.Tensor:
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    of = next((count for part, count in heads.items() if part in name), 0)
    return tensor.unflatten(0, (of, 2, -1)).transpose(1, 2).flatten(0, 2) if of else tensor


def _one_added(name: str, tensor: torch.Tensor, config: Any) -> torch.Tensor:
    return tensor + 1 if name.endswith("norm.weight") else tensor


def _apart(name: str, tensor: torch.Tensor, config: Any) -> torch.Tensor:
    """Queries, keys and values of all heads after each other, which lie head by head."""
    if "query_key_value" not in name:
        return tensor
    return tensor.unflatten(0, (config.num_attention_heads, 3, -1)).transpose(0, 1).flatten(0, 2)


def _turned(name: str, tensor: torch.Tensor, config: Any) -> torch.Tensor:
    return tensor.t() if "attn.c_" in name or ("mlp.c_" in name and tensor.ndim == 2) else tensor


def _of_states(name: str, tensor: torch.Tensor, config: Any) -> torch.Tensor:
    tensor = -tensor.exp() if name.endswith("A_log") else tensor
    return tensor.squeeze(1) if "conv" in name and tensor.ndim == 3 else tensor


def _flat_gate(name: str, tensor: torch.Tensor, config: Any) -> torch.Tensor:
    return tensor[0] if name.endswith("shared_expert_gate.weight") else tensor


def _of_deltas(name: str, tensor: torch.Tensor, config: Any) -> torch.Tensor:
    """Value heads of all key heads in turns, which lie key head by key head."""
    if name.endswith("norm.weight") and "linear_attn" not in name:
        return tensor + 1
    if "linear_attn" not in name:
        return _flat_gate(name, tensor, config)
    tensor = _of_states(name, tensor, config)
    keys = config.linear_num_key_heads
    each, width = config.linear_num_value_heads // keys, config.linear_value_head_dim

    def in_turns(values: torch.Tensor, width: int) -> torch.Tensor:
        return values.unflatten(0, (keys, each, width)).transpose(0, 1).flatten(0, 2)

    if name.endswith(("A_log", "dt_bias", "in_proj_a.weight", "in_proj_b.weight")):
        return in_turns(tensor, 1)
    if name.endswith(("in_proj_qkv.weight", "conv1d.weight")):
        first = 2 * keys * config.linear_key_head_dim
        return torch.cat([tensor[:first], in_turns(tensor[first:], width)])
    if name.endswith("in_proj_z.weight"):
        return in_turns(tensor, width)
    return in_turns(tensor.t(), width).t() if name.endswith("out_proj.weight") else tensor


_CHANGES: dict[str, Change] = {
    "llama": _rotated, "mistral": _rotated, "qwen2_moe": _flat_gate, "bloom": _apart, "gpt2": _turned,
    "mamba": _of_states, "lfm2": _of_states, "nemotron": _one_added, "gemma2": _one_added, "gemma3_text": _one_added,
    "qwen3_5_text": _of_deltas, "qwen3_5_moe_text": _of_deltas,
}  # fmt: skip


def _add_config(writer: Any, config: Any, architecture: str, tokenizer: bool) -> None:
    writer.add_name("tiny")
    if tokenizer:
        add_tokenizer(writer)
    else:
        writer.add_token_list([f"<{number}>" for number in range(config.vocab_size)])
    said = dict(GGUF_CONFIG_MAPPING.get(config.model_type.removesuffix("_text"), GGUF_CONFIG_MAPPING["llama"]))
    values = {key: getattr(config, name, None) for key, name in said.items() if name}
    rope = getattr(config, "rope_parameters", None) or {}
    values["attention.layer_norm_rms_epsilon"] = next(
        (getattr(config, name) for name in ("rms_norm_eps", "norm_eps", "layer_norm_epsilon") if hasattr(config, name)),
        None,
    )
    values |= {
        "rope.freq_base": rope.get("rope_theta", 1e4), "attention.key_length": getattr(config, "head_dim", None),
        "attention.value_length": getattr(config, "head_dim", None),
    }  # fmt: skip
    if architecture.startswith("qwen35"):
        values |= {
            "full_attention_interval": 2, "ssm.conv_kernel": config.linear_conv_kernel_dim,
            "ssm.state_size": config.linear_key_head_dim, "ssm.group_count": config.linear_num_key_heads,
            "ssm.time_step_rank": config.linear_num_value_heads, "rope.dimension_count": 4,
            "ssm.inner_size": config.linear_num_value_heads * config.linear_value_head_dim,
            "rope.dimension_sections": [1, 1, 0, 0],
            "expert_count": getattr(config, "num_experts", None),
            "expert_used_count": getattr(config, "num_experts_per_tok", None),
            "expert_feed_forward_length": getattr(config, "moe_intermediate_size", None),
            "expert_shared_feed_forward_length": getattr(config, "shared_expert_intermediate_size", None),
        }  # fmt: skip
    if architecture == "lfm2":
        values["attention.head_count_kv"] = [
            config.num_key_value_heads if kind == "full_attention" else 0 for kind in config.layer_types
        ]
    for key, value in values.items():
        if isinstance(value, list):
            writer.add_array(f"{architecture}.{key}", value)
        elif isinstance(value, float):
            writer.add_float32(f"{architecture}.{key}", value)
        elif value is not None:
            writer.add_uint32(f"{architecture}.{key}", int(value))
