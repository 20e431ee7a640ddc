"""A mixture-of-experts block: its router, the gates of its routed experts, and those of what every token passes beside
them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import nn

from pytest_maxact.checkpoint.sites.anatomy import Experts, Tap
from pytest_maxact.checkpoint.sites.backbone import Backbone, stated_at
from pytest_maxact.checkpoint.sites.feed_forward import Gate, gate_of, is_feed_forward, is_stacked
from pytest_maxact.checkpoint.sites.modules import (
    activation_of,
    class_of,
    has_matrix,
    is_activation,
    is_linear,
    unknown,
    words,
)
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.sites import Site

_TOP_K = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "top_k_experts", "moe_topk", "moe_k")
_IN_THE_TABLE = "state its `router` in checkpoint/sites/table.py"


def moe_taps(backbone: Backbone, layer: nn.Module, index: int, block: nn.Module, experts: nn.Module) -> list[Tap]:
    """Taps on the router logits and on every gate of a mixture-of-experts block, routed and shared; `block` is where
    its router is looked for.

    It is the layer itself where the experts lie bare in there, and they alone are handed real tokens only. Raises
    InputError that names what is missing.
    """
    bare = block is layer
    count = expert_count(experts)
    router, parameter = _stated_router(backbone, layer, index, experts) or _router(backbone, block, experts, count)
    site = Site(kind="router", layer=index, module=backbone.path(router), detail=class_of(router))
    by_logits = backbone.exceptions.routed_by_logits
    choice = "logits" if by_logits else "list" if isinstance(experts, nn.ModuleList) else "arguments"
    routed = Experts(
        module=experts,
        site=site.name,
        count=count,
        top_k=_top_k(backbone, router, block),
        choice=choice,
        order=by_logits,
        skips=choice == "arguments" and parameter.shape[0] > count,
    )
    if choice != "arguments" and routed.top_k is None:
        raise unknown(
            f"{backbone.named(block)}: how many experts a token takes is neither in the config nor in its router"
        )
    logits = Tap(site=site, module=router, reads="product", parameter=parameter, experts=routed, in_moe=not bare)
    shared = [] if bare else shared_taps(backbone, block, index, known=_parts(block, experts, router))
    return [logits, *_routed_gates(backbone, block, routed, index), *shared]


def expert_count(experts: nn.Module) -> int:
    """How many experts have weights."""
    if isinstance(experts, nn.ModuleList):
        return len(experts)
    stacked = [int(p.shape[0]) for p in experts.parameters(recurse=False) if p.ndim == 3]
    return min(stacked) if stacked else int(experts.num_experts)  # type: ignore[arg-type]


def shared_taps(backbone: Backbone, block: nn.Module, layer: int, known: Sequence[nn.Module]) -> list[Tap]:
    """The gates of what every token passes beside the routed experts of a block; `known` are the parts of it that are
    read otherwise, or not.

    Raises InputError for a part that is no feed-forward block.
    """
    taps = []
    for name, child in block.named_children():
        if any(child is part for part in known) or not has_matrix(child) or is_linear(child):
            continue
        members = list(child) if isinstance(child, nn.ModuleList) else [child]
        for number, member in enumerate(members):
            part = name if len(members) == 1 else f"{name}.{number}"
            stacked = [p for p in member.parameters(recurse=False) if p.ndim == 3]
            activation = activation_of(member)
            site = Site(kind="gate", layer=layer, module=backbone.path(member), detail=class_of(member))
            if len(stacked) == 3 and activation is not None:
                taps.append(
                    Tap(site=site, module=activation, reads="input", layout="streams first", part=part, in_moe=True)
                )
            elif not is_feed_forward(member):
                raise unknown(
                    f"{backbone.named(member)} holds matrices and is neither router, experts nor a feed-forward block"
                )
            elif gate := gate_of(member, backbone.exceptions):
                site = replace(site, module=backbone.path(gate.module))
                taps.append(
                    Tap(site=site, module=gate.module, reads=gate.reads, columns=gate.columns, part=part, in_moe=True)
                )
    return taps


def _stated_router(
    backbone: Backbone, layer: nn.Module, index: int, experts: nn.Module
) -> tuple[nn.Module, nn.Parameter] | None:
    """The router that the table of exceptions states, and its matrix. Raises InputError for one without a row of
    weights for every expert, and for one that holds the experts: what lies in a router is read nowhere else.
    """
    stated, count = backbone.exceptions.router, expert_count(experts)
    if not stated:
        return None
    _, router, parameter = stated_at(backbone, layer, index, stated)
    if any(module is experts for module in router.modules()):
        raise unknown(f"{backbone.named(router)}: stated as a router in the table of exceptions, and holds the experts")
    if parameter is None:
        return router, _routing_matrix(router, count, backbone.named(layer))
    if parameter.ndim != 2 or parameter.shape[0] < count:
        raise unknown(
            f"{backbone.named(layer)}: {stated}, in the table of exceptions, is no matrix with a row for each of"
            f" {counted(count, 'expert')}"
        )
    return router, parameter


def _router(backbone: Backbone, block: nn.Module, experts: nn.Module, count: int) -> tuple[nn.Module, nn.Parameter]:
    """The module that computes router logits, declared, or by structure the one that holds a row of weights for every
    expert; and its matrix.
    """
    inside = {id(module) for module in experts.modules()}
    outside = [module for module in block.modules() if module is not block and id(module) not in inside]
    declared = [module for module in outside if backbone.declares("router_logits", module)]
    if len(declared) == 1:
        return declared[0], _routing_matrix(declared[0], count, backbone.named(block))
    routers = [m for m in outside if any(p.ndim == 2 and p.shape[0] == count for p in m.parameters(recurse=False))]
    called = [module for module in routers if words(backbone.path(module).rsplit(".", 1)[-1]) & {"gate", "router"}]
    for found in (routers, called):
        if len(found) == 1:
            return found[0], _routing_matrix(found[0], count, backbone.named(block))
    raise unknown(
        f"{backbone.named(block)}: {len(routers)} modules could be the router of its {count} experts", _IN_THE_TABLE
    )


def _routing_matrix(router: nn.Module, count: int, where: str) -> nn.Parameter:
    """The matrix whose product with a token is the router logits; it may have more rows than there are experts with
    weights.
    """
    matrices = [p for p in router.parameters() if p.ndim == 2 and p.shape[0] >= count]
    fewest = min((p.shape[0] for p in matrices), default=0)
    found = [p for p in matrices if p.shape[0] == fewest]
    if len(found) != 1:
        raise unknown(
            f"{where}: {len(found)} matrices of {class_of(router)} could give the logits of {count} experts",
            _IN_THE_TABLE,
        )
    return found[0]


def _routed_gates(backbone: Backbone, block: nn.Module, routed: Experts, layer: int) -> Iterator[Tap]:
    experts = routed.module
    site = Site(kind="gate", layer=layer, module=backbone.path(experts), detail="experts")

    def tap(gate: Gate) -> Tap:
        return Tap(
            site=site,
            module=gate.module,
            reads=gate.reads,
            columns=gate.columns,
            part="experts",
            experts=routed,
            in_moe=True,
        )

    if isinstance(experts, nn.ModuleList):
        yield from (tap(gate) for expert in experts if (gate := gate_of(expert, backbone.exceptions)))
        return
    matrices = [
        p
        for p in (block if routed.choice == "logits" else experts).parameters()
        if p.ndim >= 2 and p.shape[0] >= routed.count
    ]
    if len(matrices) == 2 and set(matrices[0].shape[1:]) == set(matrices[1].shape[1:]):
        return
    activations = [module for module in experts.modules() if is_activation(module)]
    if not activations and routed.choice == "logits":
        activations = [child for child in block.children() if is_activation(child)]
    own = getattr(type(experts), "_apply_gate", None)
    if own is not None and own.__name__ != "_default_apply_gate":
        yield tap(Gate(module=experts, reads="gate_up"))
    elif len(activations) == 1:
        yield tap(Gate(module=activations[0], reads="input"))
    elif callable(getattr(experts, "act_fn", None)):
        yield tap(Gate(module=experts, reads="act_fn"))
    else:
        raise unknown(f"{backbone.named(experts)}: the gate of these experts cannot be read")


def _parts(block: nn.Module, experts: nn.Module, router: nn.Module) -> list[nn.Module]:
    """The children of a block that hold its router and its experts; experts laid out in the block itself are
    several.
    """
    inside = [child for child in block.children() if any(m is router or m is experts for m in child.modules())]
    return inside + [
        child
        for child in block.children()
        if is_stacked(experts) and is_stacked(child) and type(child) is type(experts)
    ]


def _top_k(backbone: Backbone, router: nn.Module, block: nn.Module) -> int | None:
    stated = [getattr(module, "top_k", None) for module in (router, block)] + [
        getattr(backbone.config, name, None) for name in _TOP_K
    ]
    return next((value for value in stated if isinstance(value, int)), None)
