"""Tiny encoders of the BERT kind, each with the places of its activations as read from the modelling sources, and plain
hooks over them.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModel, PreTrainedConfig

DEPTH = 3
LENGTHS = (7, 12, 3)
VOCABULARY = 128
PADDING = 0
FIRST_WORD = 5  # ids below it are padding and the special tokens


@dataclass(frozen=True)
class Encoder:
    """Attribute paths: `attn_output`, `mlp_output` and `gate` start from a layer, the others from the model."""

    embedding: str
    layers: str
    attn_output: str
    mlp_output: str
    gate: str | None = None
    fused_gate: bool = False  # `gate` is one projection for both halves, of which the first goes through the activation
    final_norm: str | None = None
    shared: bool = False  # `layers` holds one module that runs once for every depth


_BERT = Encoder("embeddings.word_embeddings", "encoder.layer", "attention.output.dense", "output.dense")
_POST_NORM = Encoder("embeddings.word_embeddings", "layers", "self_attn", "mlp")
_PRE_NORM = Encoder("embed_tokens", "layers", "self_attn", "mlp", gate="mlp.gate_proj", final_norm="norm")
_MODERN = Encoder(
    "embeddings.tok_embeddings", "layers", "attn", "mlp", gate="mlp.Wi", fused_gate=True, final_norm="final_norm"
)


def _within(encoder: Encoder, prefix: str) -> Encoder:
    return dataclasses.replace(
        encoder,
        embedding=f"{prefix}.{encoder.embedding}",
        layers=f"{prefix}.{encoder.layers}",
        final_norm=None if encoder.final_norm is None else f"{prefix}.{encoder.final_norm}",
    )


ENCODERS: dict[str, Encoder] = {
    **dict.fromkeys(
        (
            "bert",
            "bert-generation",
            "big_bird",
            "camembert",
            "convbert",
            "data2vec-text",
            "deberta",
            "deberta-v2",
            "electra",
            "ernie",
            "ibert",
            "layoutlm",
            "layoutlmv3",
            "longformer",
            "luke",
            "markuplm",
            "mra",
            "nystromformer",
            "rembert",
            "roberta",
            "roc_bert",
            "roformer",
            "splinter",
            "tapas",
            "visual_bert",
            "xlm-roberta",
            "xmod",
            "yoso",
        ),
        _BERT,
    ),
    "albert": Encoder(
        "embeddings.word_embeddings",
        "encoder.albert_layer_groups.0.albert_layers",
        "attention.dense",
        "ffn_output",
        shared=True,
    ),
    "distilbert": Encoder("embeddings.word_embeddings", "transformer.layer", "attention", "ffn"),
    "mpnet": dataclasses.replace(_BERT, attn_output="attention.attn"),
    "esm": dataclasses.replace(_BERT, final_norm="encoder.emb_layer_norm_after"),
    "megatron-bert": dataclasses.replace(_BERT, final_norm="encoder.ln"),
    "roberta-prelayernorm": dataclasses.replace(_BERT, final_norm="LayerNorm"),
    "xlm-roberta-xl": dataclasses.replace(_BERT, final_norm="encoder.LayerNorm"),
    "jina_embeddings_v3": _POST_NORM,
    "gte": dataclasses.replace(_POST_NORM, gate="mlp.gate_proj"),
    "nomic_bert": dataclasses.replace(_POST_NORM, gate="mlp.gate_proj"),
    "esmc": _PRE_NORM,
    "eurobert": _PRE_NORM,
    "ultrabert": _PRE_NORM,
    "ultravbert": _within(_PRE_NORM, "text_model"),
    "modernbert": _MODERN,
    "modernbert-decoder": _MODERN,
    "modernvbert": _within(_MODERN, "text_model"),
    # Its token embedding is factorised: a table of low rank, and a projection that the other factorised types keep in
    # the encoder.
    "neomme": Encoder("embed_tokens.word_embeddings", "layers", "self_attn", "mlp", final_norm="final_norm"),
}

LEFT_OUT: dict[str, str] = {
    "bart": "encoder and decoder",
    "flaubert": "no layer modules: attentions, feed-forward blocks and norms are parallel lists",
    "fnet": "Fourier transform in place of attention, and no attention mask",
    "funnel": "pools the sequence between blocks and has a decoder",
    "mbart": "encoder and decoder",
    "mobilebert": "bottlenecks around every layer and four feed-forward blocks in each",
    "mvp": "encoder and decoder",
    "perceiver": "self-attention over latents, not over tokens",
    "reformer": "reversible layers with two residual streams",
    "squeezebert": "convolutions with the tokens in the last dimension, and layers that return a dictionary",
    "xlm": "no layer modules: attentions, feed-forward blocks and norms are parallel lists",
}

TYPES: tuple[str, ...] = tuple(sorted(ENCODERS))

# The same text measures otherwise in a longer batch: two convolve over the padding, yoso does not mask it at all.
PADDING_REACHES: tuple[str, ...] = ("convbert", "nystromformer", "yoso")

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 80,
    "type_vocab_size": 2,
    "pad_token_id": PADDING,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "sep_token_id": 3,
    "cls_token_id": 1,
    "mask_token_id": 4,
    "hidden_size": 32,
    "dim": 32,
    "embedding_size": 16,
    "input_embedding_size": 16,
    "embedding_rank": 16,
    "intermediate_size": 44,
    "hidden_dim": 44,
    "num_hidden_layers": DEPTH,
    "n_layers": DEPTH,
    "num_attention_heads": 4,
    "n_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
}
_SIGLIP: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}
_ALTERNATING = ["sliding_attention", "full_attention", "sliding_attention"]
_OWN: dict[str, dict[str, Any]] = {
    "big_bird": {"attention_type": "original_full"},
    "convbert": {"conv_kernel_size": 3},
    "esm": {"position_embedding_type": "rotary"},
    "layoutlm": {"max_2d_position_embeddings": 64},
    "layoutlmv3": {"visual_embed": False, "coordinate_size": 6, "shape_size": 4, "max_2d_position_embeddings": 64},
    "longformer": {"attention_window": 8},
    "luke": {"entity_vocab_size": 16, "entity_emb_size": 16},
    "markuplm": {
        "max_xpath_tag_unit_embeddings": 16,
        "max_xpath_subs_unit_embeddings": 16,
        "tag_pad_id": 15,
        "subs_pad_id": 15,
        "xpath_unit_hidden_size": 4,
        "max_depth": 4,
    },
    "modernbert": {"local_attention": 8},
    "modernbert-decoder": {"local_attention": 8},
    "neomme": {"head_dim": 16, "num_key_value_heads": 2, "patch_size": 4, "embedding_dim": 16},
    "nystromformer": {"conv_kernel_size": 3},
    "roc_bert": {
        "pronunciation_embed_dim": 8,
        "pronunciation_vocab_size": 32,
        "shape_embed_dim": 8,
        "shape_vocab_size": 32,
    },
    "ultrabert": {"layer_types": _ALTERNATING, "sliding_window": 4},
    "visual_bert": {"visual_embedding_dim": 16},
    "xmod": {"default_language": "en_XX"},
}


def tiny(model_type: str) -> PreTrainedConfig:
    config_class = CONFIG_MAPPING[model_type]
    known = {field.name for field in dataclasses.fields(config_class)}
    settings = {name: value for name, value in _SIZES.items() if name in known} | _OWN.get(model_type, {})
    if model_type in ("modernvbert", "ultravbert"):
        text = tiny("modernbert" if model_type == "modernvbert" else "ultrabert")
        settings = {
            "text_config": text,
            "vision_config": _SIGLIP,
            "image_token_id": VOCABULARY - 1,
            "pixel_shuffle_factor": 2,
        }
    return config_class(**settings)


def build(model_type: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model: nn.Module = AutoModel.from_config(tiny(model_type), dtype=torch.float32).eval()
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    return model


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Token ids, padded on the right, and their attention mask."""
    mask = torch.zeros(len(LENGTHS), max(LENGTHS), dtype=torch.long)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
    words = torch.randint(FIRST_WORD, VOCABULARY - 1, mask.shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(mask.bool(), words, PADDING), mask


def plain_maxima(model: nn.Module, model_type: str, input_ids: Tensor, attention_mask: Tensor) -> dict[str, float]:
    """The largest absolute value over the real tokens, by site."""
    encoder = ENCODERS[model_type]
    real = attention_mask.bool()
    maxima: dict[str, float] = {}
    runs: Counter[str] = Counter()
    handles: list[Any] = []

    def watch(module: nn.Module, name_of_run: Callable[[int], str], first_half: bool = False) -> None:
        key = name_of_run(0)

        def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
            values = output[0] if isinstance(output, tuple) else output
            if first_half:
                values = values.chunk(2, dim=-1)[0]
            # Some types pad the sequence further, to a multiple of their window.
            values = values[:, : real.shape[1]]
            maxima[name_of_run(runs[key])] = values[real].abs().max().item()
            runs[key] += 1

        handles.append(module.register_forward_hook(record))

    watch(model.get_submodule(encoder.embedding), lambda run: "embedding")
    if encoder.final_norm is not None:
        watch(model.get_submodule(encoder.final_norm), lambda run: "final_norm")
    for index, layer in enumerate(model.get_submodule(encoder.layers).children()):

        def named(site: str, index: int = index) -> Callable[[int], str]:
            return lambda run: f"layers.{run if encoder.shared else index}.{site}"

        watch(layer, named("hidden"))
        watch(layer.get_submodule(encoder.attn_output), named("attn_output"))
        watch(layer.get_submodule(encoder.mlp_output), named("mlp_output"))
        if encoder.gate is not None:
            watch(layer.get_submodule(encoder.gate), named("gate"), first_half=encoder.fused_gate)
    try:
        with torch.no_grad():
            model(input_ids=input_ids, attention_mask=attention_mask)
    finally:
        for handle in handles:
            handle.remove()
    return maxima
