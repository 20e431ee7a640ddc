"""Tiny checkpoints made on the spot: random ones of every family of the paper, and planted ones whose right answer is
known exactly.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

WIDTH = 64
LAYERS = 3
PEAK_WORD = "peak"
WORDS = [f"w{i}" for i in range(60)]
PEAK_CHANNEL, FLAG_CHANNEL, PLAIN_CHANNEL = 5, 1, 2
FLAG_VALUE = 4.0

_TEXT: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 96,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 64,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_MOE: dict[str, Any] = {
    "num_experts": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "norm_topk_prob": True,
}
_LINEAR: dict[str, Any] = {
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_conv_kernel_dim": 4,
}

_VISION: dict[str, Any] = {
    "depth": 1,
    "hidden_size": 32,
    "num_heads": 2,
    "intermediate_size": 32,
    "out_hidden_size": WIDTH,
}
_SIGLIP: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_ROPE: dict[str, Any] = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
_LATENT: dict[str, Any] = {
    "n_group": 2,
    "topk_group": 1,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 32,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "num_key_value_heads": 4,
    "head_dim": 16,
}

FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": _TEXT,
    "qwen2_5_vl": {"text_config": {**_TEXT, "rope_parameters": _ROPE}, "vision_config": _VISION},
    "qwen3": _TEXT,
    "qwen3_moe": {**_TEXT, **_MOE},
    "qwen3_5": {"text_config": {**_TEXT, **_LINEAR}, "vision_config": _VISION},
    "qwen3_5_moe": {
        "text_config": {**_TEXT, **_LINEAR, **_MOE, "shared_expert_intermediate_size": 32},
        "vision_config": _VISION,
    },
    "gemma": _TEXT,
    "gemma2": _TEXT,
    "gemma3_text": _TEXT,
    "gemma3": {"text_config": _TEXT, "vision_config": _SIGLIP, "mm_tokens_per_image": 4},
    "gpt_oss": {**_TEXT, **_MOE, "intermediate_size": 32},
    "bailing_hybrid": {**_TEXT, **_MOE, **_LATENT},
    "llama": _TEXT,
    "mistral": _TEXT,
    "mixtral": {**_TEXT, **_MOE},
}
MOE_FAMILIES = ("qwen3_moe", "qwen3_5_moe", "gpt_oss", "bailing_hybrid", "mixtral")


def config_of(model_type: str, **overrides: Any) -> Any:
    settings = dict(FAMILIES[model_type])
    if "text_config" in settings:
        settings["text_config"] = {**settings["text_config"], **overrides}
    else:
        settings.update(overrides)
    return AutoConfig.for_model(model_type, **settings)


def random_model(model_type: str, seed: int = 0, **overrides: Any) -> nn.Module:
    """A float32 model with weights large enough that every site has something to show."""
    torch.manual_seed(seed)
    config = config_of(model_type, **overrides)
    model = AutoModel.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0.0, 0.15)
    return model


def word_tokenizer(padding_side: str = "right", bos: bool = False, reverse: bool = False) -> PreTrainedTokenizerFast:
    """One token per word, words split at spaces; `reverse` numbers the words the other way round."""
    words = WORDS[::-1] if reverse else WORDS
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", PEAK_WORD, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if bos:
        from tokenizers.processors import TemplateProcessing

        tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>", padding_side=padding_side
    )


def character_tokenizer() -> PreTrainedTokenizerFast:
    """One token per character, of any text, in as small a vocabulary as that of words."""
    characters = "abcdefghijklmnopqrstuvwxyz ETAOINSRHLDCU.,;:()-'\"0123456789"
    vocabulary = {piece: i for i, piece in enumerate(["<pad>", "<s>", "</s>", "?", *characters[:60]])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def save(folder: Path, model: nn.Module, tokenizer: PreTrainedTokenizerFast | None = None) -> Path:
    model.save_pretrained(folder)
    (tokenizer or word_tokenizer()).save_pretrained(folder)
    return folder


def write_corpus(path: Path, texts: Iterable[tuple[str, str]]) -> Path:
    """(id, text) pairs as JSON lines of two categories."""
    lines = [json.dumps({"id": name, "text": text, "category": "ab"[i % 2]}) for i, (name, text) in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n")
    return path


def sentences(lengths: Sequence[int], peak: tuple[int, int] | None = None) -> list[tuple[str, str]]:
    """Texts of the given token counts; `peak` (sample, position) is the place of the one peak word."""
    texts = []
    for i, length in enumerate(lengths):
        words = [WORDS[(7 * i + 3 * j) % len(WORDS)] for j in range(length)]
        if peak is not None and peak[0] == i:
            words[peak[1]] = PEAK_WORD
        texts.append((f"s{i:02d}", " ".join(words)))
    return texts


def planted_model(
    model_type: str, *, layer: int, value: float, residual: float | None = None, dtype: torch.dtype = torch.bfloat16
) -> nn.Module:
    """A model that is zero but for one thing: at `layer`, the feed-forward block writes `value` to PEAK_CHANNEL for the
    peak token.

    Every embedding is one-hot, so every norm is exact: the peak token's normalised input is sqrt(64) = 8 on
    FLAG_CHANNEL. The gate makes of it 8 x 4 = 32, whose SiLU and tanh-GELU are 32 exactly in 16 bits; up makes 8 / 8 =
    1; down makes 32 x value / 32. With `residual`, for post-norm families, the norm after the block turns the one-hot
    output into that value on the residual stream.
    """
    model = AutoModel.from_config(config_of(model_type), dtype=dtype).eval()
    decoder = model.get_decoder()
    offset = 0.0 if not model_type.startswith("gemma") else 1.0
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            parameter.fill_(1.0 - offset if "norm" in name else 0.0)
        embedding = decoder.get_input_embeddings()
        scale = 8.0 if model_type.startswith("gemma") else 1.0
        embedding.weight[:, PLAIN_CHANNEL] = FLAG_VALUE / scale
        embedding.weight[3] = 0.0
        embedding.weight[3, FLAG_CHANNEL] = FLAG_VALUE / scale
        block = decoder.layers[layer].mlp
        if hasattr(block, "experts"):
            half = block.experts.gate_up_proj.shape[1] // 2
            block.experts.gate_up_proj[:, 0, FLAG_CHANNEL] = 4.0
            block.experts.gate_up_proj[:, half, FLAG_CHANNEL] = 0.125
            block.experts.down_proj[:, PEAK_CHANNEL, 0] = value / 32
        else:
            block.gate_proj.weight[0, FLAG_CHANNEL] = 4.0
            block.up_proj.weight[0, FLAG_CHANNEL] = 0.125
            block.down_proj.weight[PEAK_CHANNEL, 0] = value / 32
        if residual is not None:
            decoder.layers[layer].post_feedforward_layernorm.weight[PEAK_CHANNEL] = residual / 8 - 1.0
    return model
