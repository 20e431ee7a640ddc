"""The vocabulary of sites: which tensors of a decoder are observed and what they are called, everywhere and in every file.

Names: `embedding`, `layers.{i}.hidden`, `layers.{i}.attn_output`, `layers.{i}.mlp_output`, `layers.{i}.gate`, `layers.{i}.router`, `final_norm`.
Source of the set: "Measuring Maximum Activations in Open Large Language Models", arXiv 2605.15572.
"""

from dataclasses import dataclass

KINDS = ("embedding", "hidden", "attn_output", "mlp_output", "gate", "router", "final_norm")
LAYER_KINDS = ("hidden", "attn_output", "mlp_output", "gate", "router")
COUNTED_KINDS = frozenset({"embedding", "hidden", "attn_output", "mlp_output", "final_norm"})
"""Kinds whose entries count toward M, the checkpoint's maximum activation; `gate` and `router` are measured beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One observed tensor of a decoder.

    `layer` is None for `embedding` and `final_norm`. `module` is the path of the module it is read from, for people;
    `detail` says what stands behind the kind where that differs between layers ("full_attention", "linear_attention", "experts").
    """

    kind: str
    layer: int | None = None
    module: str = ""
    detail: str = ""

    @property
    def name(self) -> str:
        return self.kind if self.layer is None else f"layers.{self.layer}.{self.kind}"

    @property
    def counted(self) -> bool:
        return self.kind in COUNTED_KINDS

    @property
    def order(self) -> tuple[int, int]:
        """Depth order: embedding, then layer by layer in the order of `KINDS`, then the final norm."""
        depth = self.layer if self.layer is not None else (-1 if self.kind == "embedding" else 1 << 30)
        return depth, KINDS.index(self.kind)
