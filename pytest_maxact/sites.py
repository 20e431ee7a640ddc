"""A model's modules to the list of observed sites, resolved from what transformers declares and from structure.

transformers names its decoder layer, attention and router classes (`_can_record_outputs`); what a model does not declare (code that comes with
the weights) is found by structure: the module list as deep as the config says, in each layer the two children that hold matrices, in a
feed-forward block its experts and their activation. A site that cannot be found is an error that says where it was looked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from pytest_maxact.errors import InputError
from pytest_maxact.names import Site


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tap:
    """Where a site is read: a module's `output`, its `input`, or the fused gate-up tensor passed to its `_apply_gate` method.

    `index` picks from a tuple output; None picks the one element that can be router logits. `experts` is set for taps on routed tokens, whose
    rows are token-expert pairs. `in_moe`: the tensor lies inside a mixture-of-experts block, which is given real tokens only. `once`: later
    firings within one batch repeat the first (an embedding that a prediction head looks up again).
    """

    site: Site
    module: nn.Module
    reads: str = "output"
    index: int | None = 0
    part: str = ""
    experts: nn.Module | None = None
    in_moe: bool = False
    once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """The observed parts of one decoder. `absent` says what it does not have by design."""

    taps: tuple[Tap, ...]
    moe_blocks: tuple[nn.Module, ...]
    top_k: int
    hidden_size: int
    absent: tuple[str, ...] = field(default=())

    @property
    def sites(self) -> list[Site]:
        """Every site once, in depth order."""
        return sorted({tap.site.name: tap.site for tap in self.taps}.values(), key=lambda site: site.order)


def resolve(decoder: nn.Module, config: Any) -> Anatomy:
    """The sites of a language backbone. Raises InputError that names what could not be found."""
    text = config.get_text_config()
    paths = {id(module): name for name, module in decoder.named_modules()}
    embedding = decoder.get_input_embeddings()  # type: ignore[operator]
    layers = _layers(decoder, text)
    norm = _final_norm(decoder, layers, text.hidden_size)
    taps = [Tap(site=Site(kind="embedding", module=paths[id(embedding)], detail=_class(embedding)), module=embedding, once=True)]
    moe_blocks: list[nn.Module] = []
    ungated: list[int] = []
    for index, layer in enumerate(layers):
        mixer, feed_forward = _blocks(decoder, layer, f"{paths[id(layer)]} ({_class(layer)})")
        for kind, module in (("hidden", layer), ("attn_output", mixer), ("mlp_output", feed_forward)):
            taps.append(Tap(site=Site(kind=kind, layer=index, module=paths[id(module)], detail=_class(module)), module=module))
        experts = _experts(feed_forward)
        if experts is not None:
            moe_blocks.append(feed_forward)
            router, output = _router(decoder, feed_forward, experts, paths[id(feed_forward)])
            site = Site(kind="router", layer=index, module=paths[id(router)], detail=_class(router))
            taps.append(Tap(site=site, module=router, index=output, in_moe=True))
        gates = list(_gate_taps(feed_forward, experts, index, paths))
        taps += gates
        if not gates:
            ungated.append(index)
    taps.append(Tap(site=Site(kind="final_norm", module=paths[id(norm)], detail=_class(norm)), module=norm))
    absent = (f"gate: the feed-forward blocks of {len(ungated)} layers have none",) if ungated else ()
    return Anatomy(
        taps=tuple(taps), moe_blocks=tuple(moe_blocks), top_k=_top_k(text) if moe_blocks else 0, hidden_size=text.hidden_size, absent=absent
    )


def _layers(decoder: nn.Module, text: Any) -> list[nn.Module]:
    depth = text.num_hidden_layers
    declared = [module for module in decoder.modules() if _is_declared(decoder, module, "hidden_states")]
    if len(declared) == depth:
        return declared
    predictors = int(getattr(text, "num_nextn_predict_layers", 0) or 0)
    stacks = [m for m in decoder.modules() if isinstance(m, nn.ModuleList) and len(m) and _has_matrix(m[0])]
    nested = {id(inner) for outer in stacks for inner in outer.modules() if inner is not outer}
    lists = [m for m in stacks if id(m) not in nested and len(m) in (depth, depth + predictors)]
    if len(lists) == 1:
        return list(lists[0])[:depth]
    raise _unknown(
        f"{_class(decoder)}: found {len(declared)} declared decoder layers and {len(lists)} module lists of that depth where the config says {depth} layers"
    )


def _declared(decoder: nn.Module, key: str) -> list[Any]:
    """The entries of the decoder's `_can_record_outputs` under `key`: classes, class names or OutputRecorders."""
    declared = (getattr(decoder, "_can_record_outputs", None) or {}).get(key)
    return [] if declared is None else declared if isinstance(declared, list) else [declared]


def _is_declared(decoder: nn.Module, module: nn.Module, key: str) -> bool:
    """Whether transformers names the module's class under `key` in the decoder's `_can_record_outputs`."""
    for entry in _declared(decoder, key):
        target = getattr(entry, "target_class", entry)
        name = getattr(entry, "class_name", None)
        if isinstance(target, type) and isinstance(module, target):
            return True
        if (isinstance(target, str) and _class(module) == target) or (name and _class(module) == name):
            return True
    return False


def _blocks(decoder: nn.Module, layer: nn.Module, where: str) -> tuple[nn.Module, nn.Module]:
    """Token mixer and feed-forward block of a layer: its two children that hold matrices, the declared attention or the first being the mixer."""
    blocks = [child for child in layer.children() if _has_matrix(child)]
    if len(blocks) != 2:
        raise _unknown(f"{where}: {len(blocks)} children hold matrices, where a mixer and a feed-forward block were expected")
    if _is_declared(decoder, blocks[1], "attentions") and not _is_declared(decoder, blocks[0], "attentions"):
        return blocks[1], blocks[0]
    return blocks[0], blocks[1]


def _final_norm(decoder: nn.Module, layers: Sequence[nn.Module], width: int) -> nn.Module:
    inside = {id(module) for layer in layers for module in layer.modules()}
    norms = [
        c for c in decoder.children() if id(c) not in inside and not _has_matrix(c) and any(p.shape == (width,) for p in c.parameters())
    ]
    if not norms:
        raise _unknown(f"{_class(decoder)}: no final norm of width {width} among its children")
    return norms[-1]


def _experts(feed_forward: nn.Module) -> nn.Module | None:
    """The routed experts of a block: a module of three-dimensional weights, or a list of equal modules; None for a dense block."""
    for child in feed_forward.children():
        if any(parameter.ndim == 3 for parameter in child.parameters(recurse=False)):
            return child
        if isinstance(child, nn.ModuleList) and len(child) > 1 and all(_has_matrix(expert) for expert in child):
            return child
    return None


def _router(decoder: nn.Module, block: nn.Module, experts: nn.Module, where: str) -> tuple[nn.Module, int | None]:
    """The module that computes router logits, and which of its outputs they are (None: to be found by shape, and proven, when it fires)."""
    for entry in _declared(decoder, "router_logits"):
        if isinstance(target := getattr(entry, "target_class", None), type):
            for module in block.modules():
                if isinstance(module, target):
                    return module, int(entry.index)
    count = _expert_count(experts)
    inside = {id(module) for module in experts.modules()}
    routers = [
        m
        for m in block.modules()
        if m is not block and id(m) not in inside and any(p.ndim == 2 and p.shape[0] == count for p in m.parameters(recurse=False))
    ]
    if len(routers) == 1:
        return routers[0], None
    raise _unknown(f"{where} ({_class(block)}): {len(routers)} modules could be the router of its {count} experts")


def _gate_taps(block: nn.Module, experts: nn.Module | None, layer: int, paths: dict[int, str]) -> Iterator[Tap]:
    """Taps on every gate projection of a feed-forward block, before its activation: the block's own, or those of its experts, routed and shared."""

    def site(module: nn.Module) -> Site:
        return Site(kind="gate", layer=layer, module=paths[id(block)], detail=_class(block) if experts is None else "experts")

    if experts is None:
        if found := _gate_of(block):
            yield Tap(site=site(block), module=found[0], reads=found[1])
        return
    if isinstance(experts, nn.ModuleList):
        for expert in experts:
            if found := _gate_of(expert):
                yield Tap(site=site(expert), module=found[0], reads=found[1], part="experts", experts=experts, in_moe=True)
    elif activation := _activation(experts):
        yield Tap(site=site(experts), module=activation, reads="input", part="experts", experts=experts, in_moe=True)
    elif getattr(experts, "has_gate", False) and hasattr(experts, "_apply_gate"):
        yield Tap(site=site(experts), module=experts, reads="gate_up", part="experts", experts=experts, in_moe=True)
    else:
        raise _unknown(f"{paths[id(experts)]} ({_class(experts)}): its experts' gate cannot be read")
    for child in block.children():
        if child is not experts and (found := _gate_of(child)):
            yield Tap(site=site(child), module=found[0], reads=found[1], part=paths[id(child)].rsplit(".", 1)[-1], in_moe=True)


def _gate_of(mlp: nn.Module) -> tuple[nn.Module, str] | None:
    """The activation whose input is the gate, where the block multiplies it with a second projection; None for a block without a gate."""
    linears = [child for child in mlp.children() if getattr(getattr(child, "weight", None), "ndim", 0) == 2]
    shapes: list[tuple[int, ...]] = [tuple(child.weight.shape) for child in linears]  # type: ignore[arg-type]
    separate = len(linears) == 3 and max(shapes.count(shape) for shape in shapes) >= 2
    fused = len(linears) == 2 and shapes[0][0] == 2 * shapes[1][1]
    if not separate and not fused:
        return None
    if activation := _activation(mlp):
        return activation, "input"
    named = [child for name, child in mlp.named_children() if "gate" in name and child in linears]
    if separate and len(named) == 1:
        return named[0], "output"
    raise _unknown(f"{_class(mlp)}: it has a gate, but neither one activation module nor one projection by that name")


def _activation(module: nn.Module) -> nn.Module | None:
    """The one activation function among a module's children."""
    found = [child for child in module.children() if _is_activation(child)]
    return found[0] if len(found) == 1 else None


def _is_activation(module: nn.Module) -> bool:
    origin = type(module).__module__
    return (
        origin == "torch.nn.modules.activation" and not isinstance(module, nn.MultiheadAttention)
    ) or origin == "transformers.activations"


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.ndim >= 2 for parameter in module.parameters())


def _expert_count(experts: nn.Module) -> int:
    if isinstance(experts, nn.ModuleList):
        return len(experts)
    return next(int(p.shape[0]) for p in experts.parameters(recurse=False) if p.ndim == 3)


def _top_k(text: Any) -> int:
    for name in ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "top_k_experts", "moe_topk"):
        if isinstance(value := getattr(text, name, None), int):
            return value
    raise _unknown(f"{type(text).__name__}: how many experts a token takes is not in the config")


def _unknown(what: str) -> InputError:
    return InputError(f"{what}\n  this architecture cannot be measured yet; please report its model_type")


def _class(module: nn.Module) -> str:
    return type(module).__name__
