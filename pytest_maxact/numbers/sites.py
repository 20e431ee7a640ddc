"""The vocabulary of sites: which tensors of a decoder are observed and what they are called, everywhere and in every
file.

Names: `embedding`, `layers.{i}.hidden`, `layers.{i}.attn_output`, `layers.{i}.mlp_output`, `layers.{i}.gate`,
`layers.{i}.router`, `final_norm`, the set of "Measuring Maximum Activations in Open Large Language Models", arXiv
2605.15572; and what low-bit kernels quantize, the inputs of the linear layers: `layers.{i}.qkv_in`, `layers.{i}.o_in`,
`layers.{i}.mlp_in`, `layers.{i}.down_in`; and what attention works with and a KV cache keeps, after norm and rotary
embedding: `layers.{i}.q`, `layers.{i}.k`, `layers.{i}.v`, and of latent attention `layers.{i}.kv_latent`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pytest_maxact.numbers.checked import Count

CARRIER = "carrier"
"""Stands for the site that holds M, which is known once all were seen."""
LAYER_KINDS = ("hidden", "attn_output", "mlp_output", "gate", "router")
"""Kinds of the paper that every layer may have."""
LINEAR_KINDS = ("qkv_in", "o_in", "mlp_in", "down_in")
"""Inputs of linear layers: of a token mixer's projections and of its last one, of a feed-forward block's and of its
last one.
"""
ATTENTION_KINDS = ("kv_latent", "q", "k", "v")
"""What attention multiplies: queries, keys and values, the rows of all heads side by side; and the compressed state
that latent attention keeps in their place.
"""
CACHED_KINDS = ("kv_latent", "k", "v")
"""What a KV cache keeps."""
KINDS = ("embedding", *LAYER_KINDS, *LINEAR_KINDS, *ATTENTION_KINDS, "final_norm")
FLOW = (
    "embedding",
    "qkv_in",
    *ATTENTION_KINDS,
    "o_in",
    "attn_output",
    "mlp_in",
    "router",
    "gate",
    "down_in",
    "mlp_output",
    "hidden",
    "final_norm",
)
"""Kinds in the order in which their values arise: a fault shows first where it comes from."""
COUNTED_KINDS = frozenset({"embedding", "hidden", "attn_output", "mlp_output", "final_norm"})
"""Kinds whose entries count toward M, the checkpoint's maximum activation; `gate` and `router` are measured beside
it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One observed tensor of a decoder.

    `layer` is None for `embedding` and `final_norm`. `module` is the path of the module it is read from, for people;
    `detail` says what stands behind the kind where that differs between layers ("full_attention", "linear_attention",
    "experts").
    """

    kind: str
    layer: Count | None = None
    module: str = ""
    detail: str = ""

    @property
    def name(self) -> str:
        return self.kind if self.layer is None else f"layers.{self.layer}.{self.kind}"

    @property
    def counted(self) -> bool:
        return self.kind in COUNTED_KINDS

    @property
    def is_linear_input(self) -> bool:
        return self.kind in LINEAR_KINDS

    @property
    def is_of_attention(self) -> bool:
        return self.kind in ATTENTION_KINDS

    @property
    def is_cached(self) -> bool:
        """Whether it is of a kind that a KV cache keeps (`kept_in_cache`: which of a model's it does)."""
        return self.kind in CACHED_KINDS

    @property
    def is_beside(self) -> bool:
        """Whether it is none of the paper's, and observed where it is asked for alone."""
        return self.is_linear_input or self.is_of_attention

    @property
    def order(self) -> tuple[int, int]:
        """Depth order: embedding, then layer by layer in the order of `KINDS`, then the final norm."""
        return self._depth, KINDS.index(self.kind)

    @property
    def flow(self) -> tuple[int, int]:
        """Order in which values arise: layer by layer, within a layer the blocks before the residual stream that they
        write to.
        """
        return self._depth, FLOW.index(self.kind)

    @property
    def _depth(self) -> int:
        return self.layer if self.layer is not None else (-1 if self.kind == "embedding" else 1 << 30)


def layer_in(name: str) -> int | None:
    """The layer that the name of a site speaks of; None where it speaks of none."""
    head, _, rest = name.partition(".")
    layer = rest.partition(".")[0]
    return int(layer) if head == "layers" and layer.isdecimal() else None


def kept_in_cache(sites: Iterable[Site]) -> list[Site]:
    """Those that a KV cache keeps: keys and values, and of a layer of latent attention its state in their place."""
    cached = [site for site in sites if site.is_cached]
    latent = {site.layer for site in cached if site.kind == "kv_latent"}
    return [site for site in cached if site.kind == "kv_latent" or site.layer not in latent]


def ranges(layers: Sequence[int]) -> str:
    """Ascending layers in few words: `0-2, 5`, or `0-30 by 2` where one step of two or more holds throughout."""
    steps = {b - a for a, b in pairwise(layers)}
    if len(layers) > 2 and len(steps) == 1 and (step := steps.pop()) > 1:
        return f"{layers[0]}-{layers[-1]} by {step}"
    found: list[list[int]] = []
    for layer in layers:
        if found and layer == found[-1][1] + 1:
            found[-1][1] = layer
        else:
            found.append([layer, layer])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found)
