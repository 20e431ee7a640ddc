"""What structure and transformers' own declarations do not say, by `model_type` of the language backbone: a line or two
each.

Every name written here must be found in the model it is written for; one that is not makes resolution fail, so a
renamed module is an error and never a gap. Paths are relative to the layer, or, where they hold `{i}`, to the decoder;
`module:parameter` means the product with a parameter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

AROUND = "mixes residual streams around the blocks; the streams themselves are read as hidden"
CONVOLUTION = "a short convolution after the block, on its way to the residual stream"
TIME_STEP = "not called as a module, and kept in 16 bits by deployments"
PER_LAYER = "adds per-layer embeddings to the residual stream, read as hidden"
POST_NORM = "each layer ends in a norm of its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceptions:
    """Exceptions of one architecture; what is callable is asked with its text config.

    - `depth`: the config's number of layers. `layers`: paths of layers, or of module lists of them, in the order they
      run.
    - `mixers`, `feed_forwards`: paths of the blocks. `gates`: class of a block to its gate projection, fused with the
      other or not, or to nothing for a block of three matrices without one.
    - `beside`: children of a layer that are neither block, with the reason. `unread`: what of a block is not read, with
      the reason. `idle`: layer classes that text does not run, with the reason.
    - `uncalled`: linear layers whose input is not read, by the last part of their path, with the reason.
    - `router`: path of the module that chooses the experts, with the parameter that gives its logits where it has
      several matrices of a row per expert.
    - `routed_in`: class of a block to the part of it that holds its router and routed experts, where that is not the
      block itself.
    - `no_final_norm`: why there is none, "" where there is one. `final_norm`: its path, where it is called before as
      well; its last call counts.
    - `own_attention`: why queries, keys and values are not read, although the attention interface is given them.
    - `layout`: how tensors lie, by kind, `*` for all. `streams`: residual streams per token.
    - `routed_by_logits`: how rows lie inside experts that are not told the choice, which is the largest logits.
      `unsupported`: why not at all.
    """

    depth: str = "num_hidden_layers"
    layers: Callable[[Any], Sequence[str]] | None = None
    mixers: tuple[str, ...] = ()
    feed_forwards: tuple[str, ...] = ()
    gates: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    uncalled: Mapping[str, str] = field(default_factory=dict)
    router: str = ""
    routed_in: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    idle: Mapping[str, str] = field(default_factory=dict)
    no_final_norm: Callable[[Any], str] = lambda config: ""
    final_norm: str = ""
    own_attention: str = ""
    layout: Mapping[str, str] = field(default_factory=dict)
    streams: Callable[[Any], int] = lambda config: 1
    routed_by_logits: str = ""
    unsupported: str = ""


def exceptions_of(config: Any) -> Exceptions:
    """The entry of a text config's `model_type`; an empty one for an architecture without exceptions."""
    return TABLE.get(config.model_type, Exceptions())


def _always(reason: str) -> Callable[[Any], str]:
    return lambda config: reason


_POST_NORM = Exceptions(no_final_norm=_always(POST_NORM))
_SEQ2SEQ = Exceptions(depth="decoder_layers")
_SEQ2SEQ_POST_NORM = Exceptions(depth="decoder_layers", no_final_norm=_always(POST_NORM))
_MAMBA = Exceptions(uncalled={"dt_proj": TIME_STEP})
_HYPER = Exceptions(
    beside={"attn_hc": AROUND, "ffn_hc": AROUND},
    layout={"hidden": "streams last"},
    streams=lambda c: int(getattr(c, "hc_mult", 1)),
)
_GEMMA4 = Exceptions(beside={"per_layer_input_gate": PER_LAYER, "per_layer_projection": PER_LAYER})
DECODERS: Mapping[str, str] = {
    "diffusion_gemma": "encoder.language_model",
    "qwen2_5_omni": "thinker.model.language_model",
    "qwen3_omni_moe": "thinker.model.language_model",
}
"""The language backbone of composite models whose own `get_decoder` gives another, by the model's `model_type`."""
HEADED = frozenset({"deepseek_v4"})
"""Architectures that transformers cannot load without their head: AutoModel misses their final norm in a checkpoint
that was saved with it.
"""
TABLE: Mapping[str, Exceptions] = {
    "albert": Exceptions(
        layers=lambda c: [
            f"encoder.albert_layer_groups.{int(i / (c.num_hidden_layers / c.num_hidden_groups))}.albert_layers"
            for i in range(c.num_hidden_layers)
        ],
        mixers=("attention.dense",),
        feed_forwards=("ffn_output",),
        no_final_norm=_always(POST_NORM),
    ),
    "bart": _SEQ2SEQ_POST_NORM,
    "bigbird_pegasus": Exceptions(depth="decoder_layers", final_norm="layernorm_embedding"),
    "blenderbot": _SEQ2SEQ,
    "blenderbot-small": _SEQ2SEQ_POST_NORM,
    "blt": Exceptions(unsupported="its global transformer works on patches of bytes, so its rows are not tokens"),
    "bloom": Exceptions(mixers=("self_attention.dense",), feed_forwards=("mlp.dense_4h_to_h",)),
    "cpmant": Exceptions(mixers=("self_att.self_attention",), feed_forwards=("ffn.ffn",), layout={"*": "last tokens"}),
    "dbrx": Exceptions(mixers=("norm_attn_norm.attn",), feed_forwards=("ffn",)),
    "deepseek_v4": replace(
        _HYPER, own_attention="keys and values of compressed blocks of tokens, which are no token's"
    ),
    "diffllama": Exceptions(own_attention="attends twice, with either half of its values"),
    "distilbert": _POST_NORM,
    "doge": Exceptions(
        gates={"DogeCDMoE": "gate_proj"},
        unread={"mlp.router_gate": "retrieves experts by product keys, from logits that are not one token's"},
    ),
    "embedding_gemma2_text": Exceptions(beside={"ple_block": PER_LAYER}),
    "ernie4_5_vl_moe_text": Exceptions(
        routed_in={"Ernie4_5_VLMoeMoeBlock": "text_moe"},
        unread={"mlp.vision_moe": "experts for images, not run on text"},
    ),
    "esm": Exceptions(final_norm="encoder.emb_layer_norm_after"),
    "falcon_mamba": _MAMBA,
    "gemma3n_text": Exceptions(
        beside={
            "altup": AROUND,
            "laurel": "a low-rank residual beside the attention",
            "per_layer_input_gate": PER_LAYER,
            "per_layer_projection": PER_LAYER,
        },
        layout={"hidden": "streams first"},
        streams=lambda c: int(c.altup_num_inputs),
    ),
    "gemma4_text": _GEMMA4,
    "glm5_next_text": _HYPER,
    "gte": _POST_NORM,
    "hrm_text": Exceptions(
        layers=lambda c: [*["L_module.layers"] * c.L_cycles, "H_module.layers"] * c.H_cycles,
        final_norm="H_module.final_norm",
    ),
    "hy_v4": _HYPER,
    "inkling_text": Exceptions(beside={"attn_sconv": CONVOLUTION, "mlp_sconv": CONVOLUTION}),
    "inkling2_text": Exceptions(
        beside={
            "attention_input": AROUND,
            "mlp_input": AROUND,
            "post_attention_convolution": CONVOLUTION,
            "post_mlp_convolution": CONVOLUTION,
        }
    ),
    "jamba": _MAMBA,
    "jina_embeddings_v3": _POST_NORM,
    "jetmoe": Exceptions(
        routed_by_logits="grouped_mm",
        unread={"self_attention.experts.router": "routes attention projections; feed-forward routers are read"},
    ),
    "llama4_text": Exceptions(routed_by_logits="dense"),
    "led": _SEQ2SEQ_POST_NORM,
    "longcat_flash": Exceptions(depth="num_layers"),
    "longformer": Exceptions(layout={"*": "first tokens"}),
    "mamba": _MAMBA,
    "marian": _SEQ2SEQ_POST_NORM,
    "mbart": _SEQ2SEQ,
    "minimax_m3_vl_text": Exceptions(gates={"MiniMaxM3VLDenseMLP": "gate_up_proj"}),
    "mllama_text_model": Exceptions(
        idle={"MllamaCrossAttentionDecoderLayer": "attends to images, and does not run on text"}
    ),
    "mpnet": Exceptions(mixers=("attention.attn",), feed_forwards=("output.dense",), no_final_norm=_always(POST_NORM)),
    "mpt": Exceptions(mixers=("attn",), feed_forwards=("ffn.down_proj",)),
    "mvp": _SEQ2SEQ_POST_NORM,
    "nanochat": Exceptions(final_norm="norm"),
    "nomic_bert": _POST_NORM,
    "openai-gpt": _POST_NORM,
    "opt": Exceptions(
        no_final_norm=lambda c: "" if c.do_layer_norm_before and not c._remove_final_layer_norm else POST_NORM
    ),
    "pegasus": _SEQ2SEQ,
    "plbart": _SEQ2SEQ_POST_NORM,
    "prophetnet": Exceptions(
        depth="num_decoder_layers",
        no_final_norm=_always(POST_NORM),
        layout=dict.fromkeys(
            ("hidden", "attn_output", "mlp_output", "qkv_in", "o_in", "mlp_in", "down_in"), "first tokens"
        ),
        uncalled=dict.fromkeys(
            ("relative_pos_embeddings", "out_proj"), "is given the main stream and the predicting ones together"
        ),
    ),
    "qwen4_exp_text": Exceptions(
        beside={"attn_hyper_connection": AROUND, "mlp_hyper_connection": AROUND, "ple": PER_LAYER},
        streams=lambda c: int(c.hc_count),
        final_norm="hyper_connection_mixer.hc_norm",
    ),
    "reformer": Exceptions(
        unsupported="its reversible layers carry two streams, and no tensor of one is the residual stream"
    ),
    "rwkv": Exceptions(gates={"RwkvFeedForward": ""}),
    "trocr": _SEQ2SEQ_POST_NORM,
    "whisper": _SEQ2SEQ,
    "xlm": Exceptions(
        layers=lambda c: ["layer_norm2"],
        mixers=("attentions.{i}",),
        feed_forwards=("ffns.{i}",),
        no_final_norm=_always(POST_NORM),
    ),
    "xlnet": Exceptions(
        mixers=("rel_attn:o",),
        feed_forwards=("ff.layer_2",),
        layout={"*": "time first"},
        no_final_norm=_always(POST_NORM),
    ),
    "zamba": Exceptions(beside={"linear": "carries the shared block's result to the Mamba block"}),
    "zamba2": Exceptions(
        beside={"linear": "carries the shared block's result to the Mamba block"},
        uncalled={
            "gate_up_proj_adapter_list": "low-rank adapters, one of which runs",
            "linear_q_adapter_list": "low-rank adapters, one of which runs",
            "linear_k_adapter_list": "low-rank adapters, one of which runs",
            "linear_v_adapter_list": "low-rank adapters, one of which runs",
        },
    ),
    "zaya": Exceptions(uncalled={"v_proj_delayed": "is given the tokens before, which its neighbours are given too"}),
}
