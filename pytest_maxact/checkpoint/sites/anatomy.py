"""What resolution hands to the observer: where each site is read, which experts stand behind a gate, and what is left
out and why.
"""

from dataclasses import dataclass, replace

from torch import nn

from pytest_maxact.numbers.site_map import LeftOut, SiteMap
from pytest_maxact.numbers.sites import Site


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experts:
    """The routed experts of one mixture-of-experts block: `module` holds `count` of them, and their traffic is reported
    at `site`.

    `top_k`: experts a token takes, None where nothing states it. `choice`: the choice is read from the module's
    `arguments` or is the largest `logits`; a `list` of modules shows it by what each is given. `order`: how rows are
    laid out inside where the module decides that itself. `skips`: the router may choose what has no weights (an
    identity expert, no expert at all).
    """

    module: nn.Module
    site: str
    count: int
    top_k: int | None = None
    choice: str = "arguments"
    order: str = ""
    skips: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tap:
    """Where a site is read.

    - `reads`: the module's `output` (the first of a tuple), its `input`, the fused `gate_up` tensor passed to its
      `_apply_gate` method, what is passed to the function that is its `act_fn`, the `product` of an activation with its
      `parameter`, before anything else is done to it, or the activation that is the other `factor` of that product.
    - `columns` picks from the last dimension. `layout` says how the tensor lies where it is not [batch, time, width]
      (see `observe.rows`).
    - `part` names one of several modules that make up a site. `experts` is set for routers, and for taps on routed
      tokens, whose rows are token-expert pairs. `in_moe`: the tensor lies inside a block that is handed real tokens
      only.
    - `firing`: which call of the module within a pass is meant, where layers share it; None for a module that belongs
      to this site alone. `once`: later calls repeat the first (an embedding that a prediction head looks up again).
      `last`: earlier calls are on other states.
    - `weights`: paths in the model of the weights that an input of linear layers is multiplied with.
    """

    site: Site
    module: nn.Module
    reads: str = "output"
    columns: slice | None = None
    parameter: nn.Parameter | None = None
    layout: str = ""
    part: str = ""
    experts: Experts | None = None
    in_moe: bool = False
    firing: int | None = None
    once: bool = False
    last: bool = False
    weights: tuple[str, ...] = ()

    @property
    def call(self) -> tuple[int, str]:
        """What taps share that are told apart by the number of a call alone: module and what is read of it. An input
        may be that of a linear layer and what latent attention keeps, in one call.
        """
        kept = self.reads == "input" and self.site.is_of_attention
        return id(self.module), f"{self.reads}, kept" if kept else self.reads

    @property
    def routed(self) -> bool:
        """Whether its rows are token-expert pairs."""
        return self.experts is not None and self.site.kind != "router"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """The observed parts of one decoder. `stripped`: modules that are handed real tokens only. `streams`: residual
    streams per token. `scaled`: names of the sites that are read for static scales of an artifact alone.
    """

    taps: tuple[Tap, ...]
    stripped: tuple[nn.Module, ...]
    experts: tuple[Experts, ...]
    hidden_size: int
    streams: int = 1
    layers: int = 0
    left_out: tuple[LeftOut, ...] = ()
    scaled: frozenset[str] = frozenset()

    @property
    def asked(self) -> "Anatomy":
        """The same without what is read for static scales alone."""
        if not self.scaled:
            return self
        taps = tuple(tap for tap in self.taps if tap.site.name not in self.scaled)
        return replace(self, taps=taps, scaled=frozenset())

    @property
    def outline(self) -> list[str]:
        """Every module that is read, for which site and how, and what is left out: equal for models that are observed
        alike.
        """
        return sorted(
            [f"{tap.site.name} {tap.part} in {tap.site.module} ({tap.reads})" for tap in self.taps]
            + [str(entry) for entry in self.left_out]
        )

    @property
    def linears(self) -> list[Tap]:
        """Taps on the inputs of linear layers."""
        return [tap for tap in self.taps if tap.site.is_linear_input]

    @property
    def sites(self) -> list[Site]:
        """Every site once, in depth order."""
        first: dict[str, Site] = {}
        for tap in self.taps:
            first.setdefault(tap.site.name, tap.site)
        return sorted(first.values(), key=lambda site: site.order)


def site_map(anatomy: Anatomy, model_type: str) -> SiteMap:
    """The anatomy as plain data, for reports."""
    return SiteMap(
        model_type=model_type,
        layers=anatomy.layers,
        hidden_size=anatomy.hidden_size,
        sites=tuple(anatomy.asked.sites),
        places=tuple(tap.site for tap in anatomy.asked.taps),
        scaled=tuple(tap.site for tap in anatomy.taps if tap.site.name in anatomy.scaled),
        left_out=anatomy.left_out,
    )


def vocabulary(anatomy: Anatomy) -> int:
    """Rows of the token embedding."""
    embedding = next(tap.module for tap in anatomy.taps if tap.site.kind == "embedding")
    return int(embedding.weight.shape[0])  # type: ignore[index]
