"""Which modules stand behind each kind of site, type by type, as the modelling sources name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal


@dataclass(frozen=True)
class Tap:
    """One tensor of a module: its output or its first input, whole or the first half of the last axis."""

    path: str
    side: Literal["output", "input"] = "output"
    half: bool = False
    ndim: int | None = None


@dataclass(frozen=True)
class Experts:
    """A module of fused experts and how the gate lies in its weights.

    rows: `gate_up_proj[expert]` is [2 * width, hidden], the gate first; columns: the transpose of that; interleaved:
    the transpose with gate and up taking turns; ungated: no gate. The other layouts name the one type that has them.
    """

    path: str
    layout: Literal["rows", "columns", "interleaved", "ungated", "dbrx", "llama4", "jetmoe"] = "rows"


@dataclass(frozen=True)
class Modules:
    """Attribute paths relative to a decoder layer; one that starts with a slash is relative to the headless model.

    A path that a layer lacks is skipped. `odd` replaces the whole entry for single layers. `copies` and `prefix` say
    that a sequence runs through the layers that many times, one after the other, or behind that many prompt positions.
    """

    layers: tuple[str, ...] = ("layers",)
    embedding: str = "embed_tokens"
    norm: str | None = "norm"
    mixer: tuple[str | Tap, ...] = ("self_attn",)
    mlp: tuple[str | Tap, ...] = ("mlp",)
    gate: tuple[str | Tap, ...] = ()
    router: str | None = None
    experts: Experts | None = None
    batched_experts: str | None = None
    odd: Mapping[int, Modules] = field(default_factory=dict)
    time_first: bool = False
    streams_first: bool = False
    copies: int = 1
    prefix: int = 0

    def of(self, layer: int) -> Modules:
        return self.odd.get(layer, self)


def first_half(path: str) -> Tap:
    return Tap(path, half=True)


def into(path: str) -> Tap:
    return Tap(path, side="input")


UNGATED = Modules()
GATED = Modules(gate=("mlp.gate_proj",))
FUSED = Modules(gate=(first_half("mlp.gate_up_proj"),))

MOE = replace(GATED, router="mlp.gate", experts=Experts("mlp.experts"))
MOE_SHARED = replace(MOE, gate=("mlp.gate_proj", "mlp.shared_experts.gate_proj"))
MOE_SHARED_EXPERT = replace(MOE, gate=("mlp.gate_proj", "mlp.shared_expert.gate_proj"))
LINEAR_OR_FULL = ("linear_attn", "self_attn")

GRANITE_MOE = Modules(
    mlp=("block_sparse_moe", "shared_mlp"),
    gate=(first_half("shared_mlp.input_linear"),),
    router="block_sparse_moe.router",
    experts=Experts("block_sparse_moe.experts"),
)

GPT2 = Modules(layers=("h",), embedding="wte", norm="ln_f", mixer=("attn",))
NEOX = Modules(embedding="embed_in", norm="final_layer_norm", mixer=("attention",))
MAMBA = Modules(embedding="embeddings", norm="norm_f", mixer=("mixer",), mlp=())

# Encoder layers: the attention and the output module add the residual and normalise, their dense layers do not.
BERT = Modules(
    layers=("encoder.layer",),
    embedding="embeddings.word_embeddings",
    norm=None,
    mixer=("attention.output.dense",),
    mlp=("output.dense",),
)

# Decoders of encoder-decoder models, without and with a normalisation behind the last layer.
BART = Modules(norm=None, mlp=("fc2",))
BART_NORM = replace(BART, norm="layer_norm")

LFM2 = Modules(
    norm="embedding_norm",
    mixer=("self_attn", "conv"),
    mlp=("feed_forward",),
    gate=("feed_forward.w1",),
    router="feed_forward.gate",
    experts=Experts("feed_forward.experts"),
)

_ZAMBA = Modules(
    norm="final_layernorm",
    mixer=("mamba", "shared_transf.self_attn", "mamba_decoder.mamba"),
    mlp=("shared_transf.feed_forward",),
    gate=("shared_transf.feed_forward.gate_proj",),
)

_NEMOTRON_H = Modules(embedding="embeddings", norm="norm_f", mixer=("mixer",), mlp=())
_NEMOTRON_H_MLP = replace(
    _NEMOTRON_H,
    mixer=(),
    mlp=("mixer",),
    router="mixer.gate",
    experts=Experts("mixer.experts", "ungated"),
)


_GROUPS: tuple[tuple[Modules, tuple[str, ...]], ...] = (
    (UNGATED, ("apertus", "arcee", "jais2", "nanochat", "nemotron", "starcoder2")),
    (
        GATED,
        (
            *("bitnet", "cohere", "cohere2", "cohere_compass_text", "cwm", "diffllama", "ernie4_5", "exaone4"),
            *("gemma", "gemma2", "gemma3_text", "gemma4_unified_text", "granite", "granite_swa", "helium"),
            *("hunyuan_v1_dense", "hyperclovax", "internlm3", "iquestcoder", "llama", "minicpm3", "ministral"),
            *("ministral3", "mistral", "olmo", "olmo2", "olmo3", "qwen2", "qwen3", "seed_oss", "smollm3"),
            *("stablelm", "vaultgemma", "youtu"),
        ),
    ),
    (FUSED, ("glm", "glm4", "phi3")),
    (MOE, ("beam", "flex_olmo", "inkling2_text", "mellum", "mimo_v2_flash", "minimax", "minimax_m2")),
    (MOE, ("mixtral", "olmoe", "qwen3_moe")),
    (
        MOE_SHARED,
        (
            *("axk2", "bailing_hybrid", "cohere2_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4"),
            *("dots1", "dots3_note_text", "ernie4_5_moe", "exaone_moe", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa"),
            *("hy_v3", "hy_v4", "kimi_linear", "kolibri1", "laguna", "solar_open"),
        ),
    ),
    (MOE_SHARED_EXPERT, ("flint", "qwen2_moe")),
    (replace(MOE_SHARED_EXPERT, mixer=LINEAR_OR_FULL), ("qwen3_5_moe_text", "qwen3_next")),
    (replace(GATED, mixer=LINEAR_OR_FULL), ("olmo_hybrid", "qwen3_5_text")),
    (replace(GRANITE_MOE, mixer=("mamba", "self_attn")), ("granitemoehybrid",)),
    (GRANITE_MOE, ("granitemoe", "granitemoe_swa", "granitemoeshared")),
    (GPT2, ("codegen", "gpt-sw3", "gpt2", "gpt_bigcode", "gpt_neo", "gptj")),
    (NEOX, ("gpt_neox", "gpt_neox_japanese")),
    (MAMBA, ("falcon_mamba", "mamba", "mamba2")),
    (replace(UNGATED, norm="final_layernorm"), ("persimmon", "phi")),
    (
        BERT,
        (
            *("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "rembert"),
            *("roberta", "roc_bert", "roformer", "xlm-roberta", "xmod"),
        ),
    ),
    (replace(BERT, norm="encoder.ln"), ("megatron-bert",)),
    (replace(BERT, norm="encoder.LayerNorm"), ("xlm-roberta-xl",)),
    (replace(BERT, norm="LayerNorm"), ("roberta-prelayernorm",)),
    (BART, ("bart", "blenderbot-small", "marian", "mvp", "plbart", "trocr")),
    (BART_NORM, ("biogpt", "blenderbot", "mbart", "pegasus", "whisper", "xglm")),
    (replace(BART, norm="layernorm_embedding"), ("bigbird_pegasus",)),
    (replace(BART, norm="final_layer_norm"), ("opt",)),
    (LFM2, ("lfm2", "lfm2_moe", "lfm3")),
)

_SINGLE: dict[str, Modules] = {
    "afmoe": replace(MOE_SHARED, router="mlp.router.gate"),
    "aria_text": replace(MOE_SHARED, router="mlp.router", experts=Experts("mlp.experts", "columns")),
    "axk1": replace(MOE_SHARED, odd={0: GATED}),
    "bamba": Modules(
        norm="final_layernorm", mixer=("mamba", "self_attn"), mlp=("feed_forward",), gate=("feed_forward.gate_proj",)
    ),
    # Their feed-forward and attention modules give the sum with the residual, so the dense layers inside are read.
    "bloom": Modules(
        layers=("h",),
        embedding="word_embeddings",
        norm="ln_f",
        mixer=("self_attention.dense",),
        mlp=("mlp.dense_4h_to_h",),
    ),
    "cpmant": Modules(
        layers=("encoder.layers",),
        embedding="input_embedding",
        norm="encoder.output_layernorm",
        mixer=("self_att.self_attention",),
        mlp=("ffn.ffn",),
        gate=("ffn.ffn.w_in.w_0",),
        prefix=4,
    ),
    "ctrl": Modules(layers=("h",), embedding="w", norm="layernorm", mixer=("multi_head_attention",), mlp=("ffn",)),
    "dbrx": Modules(
        layers=("blocks",),
        embedding="wte",
        norm="norm_f",
        mixer=("norm_attn_norm.attn",),
        mlp=("ffn",),
        router="ffn.router.layer",
        experts=Experts("ffn.experts", "dbrx"),
    ),
    # The retrieval experts are single vectors without a gate; the two lookups of `down_embed` are what was chosen. Its
    # retrieval experts are chosen by product keys from logits that belong to no one token: neither router nor traffic.
    "doge": GATED,
    "falcon": Modules(layers=("h",), embedding="word_embeddings", norm="ln_f", mixer=("self_attention",)),
    "falcon_h1": Modules(
        norm="final_layernorm", mixer=("mamba", "self_attn"), mlp=("feed_forward",), gate=("feed_forward.gate_proj",)
    ),
    "gemma3n_text": replace(GATED, streams_first=True),
    "gemma4_text": replace(GATED, mlp=("mlp", "experts"), router="router.proj", experts=Experts("experts")),
    "gpt_oss": Modules(router="mlp.router", experts=Experts("mlp.experts", "interleaved")),
    # Two stacks that take turns; their layers are numbered through.
    "hrm_text": replace(GATED, layers=("L_module.layers", "H_module.layers"), norm="H_module.final_norm"),
    "hunyuan_v1_moe": replace(MOE, gate=("mlp.shared_mlp.gate_proj",), router="mlp.gate.wg"),
    # Two shared experts in one stack of weights.
    "inkling_text": replace(MOE, batched_experts="mlp.shared_experts"),
    "jamba": Modules(
        norm="final_layernorm",
        mixer=("mamba", "self_attn"),
        mlp=("feed_forward",),
        gate=("feed_forward.gate_proj",),
        router="feed_forward.router",
        experts=Experts("feed_forward.experts"),
    ),
    "jetmoe": Modules(mixer=("self_attention",), router="mlp.router.layer", experts=Experts("mlp", "jetmoe")),
    "llama4_text": Modules(
        mlp=("feed_forward",),
        gate=("feed_forward.gate_proj", "feed_forward.shared_expert.gate_proj"),
        router="feed_forward.router",
        experts=Experts("feed_forward.experts", "llama4"),
    ),
    # One layer holds two attentions and two dense feed-forwards, and a MoE block over the first of them.
    "longcat_flash": Modules(
        mixer=("self_attn.0", "self_attn.1"),
        mlp=("mlp", "mlps.0", "mlps.1"),
        gate=("mlps.0.gate_proj", "mlps.1.gate_proj"),
        router="mlp.router",
        experts=Experts("mlp.experts"),
    ),
    "minimax_m3_vl_text": replace(
        MOE, gate=(first_half("mlp.gate_up_proj"), first_half("mlp.shared_experts.gate_up_proj"))
    ),
    "modernbert-decoder": Modules(
        embedding="embeddings.tok_embeddings", norm="final_norm", mixer=("attn",), gate=(first_half("mlp.Wi"),)
    ),
    "moshi": replace(UNGATED, gate=(first_half("mlp.fc1"),)),
    "mpt": Modules(layers=("blocks",), embedding="wte", norm="norm_f", mixer=("attn",), mlp=("ffn.down_proj",)),
    # One mixer per layer, and the feed-forward is one of its kinds.
    "nemotron_h": replace(_NEMOTRON_H, odd={1: _NEMOTRON_H_MLP, 3: _NEMOTRON_H_MLP}),
    "openai-gpt": Modules(layers=("h",), embedding="tokens_embed", norm=None, mixer=("attn",)),
    "phimoe": replace(MOE, router="mlp.router"),
    # The main stream and two predicting streams lie one after the other on the time axis; the main one is that of the
    # tokens.
    "prophetnet": Modules(embedding="word_embeddings", norm=None, mlp=("feed_forward",), copies=3),
    "qwen4_exp_text": replace(MOE_SHARED_EXPERT, mixer=LINEAR_OR_FULL, norm="hyper_connection_mixer.hc_norm"),
    "recurrent_gemma": Modules(
        norm="final_norm", mixer=("temporal_block",), mlp=("mlp_block",), gate=("mlp_block.gate_proj",)
    ),
    "rwkv": Modules(
        layers=("blocks",), embedding="embeddings", norm="ln_out", mixer=("attention",), mlp=("feed_forward",)
    ),
    # No layer module: the last normalisation of a layer gives the residual stream.
    "xlm": Modules(
        layers=("layer_norm2",), embedding="embeddings", norm=None, mixer=("/attentions.{i}",), mlp=("/ffns.{i}",)
    ),
    # The output projection is a bare parameter; its dropout sees the product, and attention weights of four axes.
    "xlnet": Modules(
        layers=("layer",),
        embedding="word_embedding",
        norm=None,
        mixer=(Tap("rel_attn.dropout", ndim=3),),
        mlp=("ff.layer_2",),
        time_first=True,
    ),
    "xlstm": Modules(
        layers=("blocks",),
        embedding="embeddings",
        norm="out_norm",
        mixer=("mlstm_layer",),
        mlp=("ffn",),
        gate=("ffn.proj_up_gate",),
    ),
    "zamba": _ZAMBA,
    # An adapter per hybrid layer is added to the gate, so the gate is read where the activation takes it in.
    "zamba2": replace(
        _ZAMBA,
        mixer=("mamba", "shared_transformer.self_attn", "mamba_decoder.mamba"),
        mlp=("shared_transformer.feed_forward",),
        gate=(into("shared_transformer.feed_forward.act_fn"),),
    ),
    # A token that skips the experts goes to expert 0 with weight zero, and so has a gate and a count there.
    "zaya": replace(MOE, router="mlp.gate.router_mlp.out_proj"),
}

MODULES: dict[str, Modules] = {name: modules for modules, names in _GROUPS for name in names} | _SINGLE
