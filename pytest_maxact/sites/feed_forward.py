"""Inside a feed-forward block: its gate, or its routed experts with their router, their gates and those of the shared experts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from pytest_maxact.names import Site
from pytest_maxact.sites.anatomy import Experts, Tap
from pytest_maxact.sites.modules import (
    activation_of,
    at,
    class_of,
    declares,
    has_matrix,
    is_activation,
    is_convolution,
    is_linear,
    linears_of,
    sizes,
    unknown,
    words,
)
from pytest_maxact.sites.table import Exceptions

_TOP_K = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "top_k_experts", "moe_topk", "moe_k")


def is_feed_forward(module: nn.Module) -> bool:
    """Two projections, up and down, or three, gate, up and down, and no other child that holds matrices."""
    linears = linears_of(module)
    if len(linears) not in (2, 3) or sum(has_matrix(child) for child in module.children()) != len(linears):
        return False
    shapes = [sizes(linear) for _, linear in linears]
    if len(shapes) == 2:
        return any(width == out and up in (inner, 2 * inner) for (up, width), (out, inner) in (shapes, shapes[::-1]))
    return any(shapes.count(shape) == 2 and shapes.count(shape[::-1]) >= 1 for shape in shapes)


def is_stacked(module: nn.Module) -> bool:
    """Whether the module itself holds the matrices of several experts as one three-dimensional weight."""
    return not is_convolution(module) and any(p.ndim == 3 and p.shape[0] > 1 for p in module.parameters(recurse=False))


def experts_in(block: nn.Module) -> nn.Module | None:
    """The routed experts of a block; None for a dense one."""
    children = [(name, child) for name, child in block.named_children() if has_matrix(child)]
    named = [child for name, child in children if name == "experts"]
    for child in named + [child for _, child in children]:
        if isinstance(child, nn.ModuleList) and len(child) > 1 and all(is_feed_forward(expert) for expert in child):
            return child
        if is_stacked(child):
            return child
    return named[0] if named else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Where a gate projection is read, before its activation function."""

    module: nn.Module
    reads: str = "output"
    columns: slice | None = None


def gate_of(mlp: nn.Module, exceptions: Exceptions) -> Gate | None:
    """The gate of a dense block, where a second projection multiplies it; None for a block without one.

    A projection that is called gate is read itself; else what the activation is given. Raises InputError for a gate that cannot be read.
    """
    linears = linears_of(mlp)
    if class_of(mlp) in exceptions.gates:
        path = exceptions.gates[class_of(mlp)]
        return _stated_gate(at(mlp, path), linears) if path else None
    shapes = [sizes(linear) for _, linear in linears]
    separate = len(shapes) == 3 and len(set(shapes)) < 3
    fused_up = len(shapes) == 2 and any(one[0] == 2 * other[1] for one, other in (shapes, shapes[::-1]))
    activation = activation_of(mlp)
    if separate:
        named = [linear for name, linear in linears if "gate" in name or name == "w1"]
        if len(named) == 1:
            return Gate(module=named[0])
    if (separate or fused_up) and activation is not None:
        return Gate(module=activation, reads="input")
    if separate or fused_up:
        raise unknown(f"{class_of(mlp)}: it has a gate, but neither one activation module nor one projection by that name")
    if inside := _gate_inside(mlp):
        return inside
    if len(linears) > 2 or not (linears or is_linear(mlp)):
        raise unknown(f"{class_of(mlp)}: it cannot be told whether this feed-forward block has a gate")
    return None


def _stated_gate(projection: nn.Module, linears: list[tuple[str, nn.Module]]) -> Gate:
    """A gate projection by name; one as wide as two inner widths holds the gate in its first half."""
    width = sizes(projection)[0]
    fused = any(2 * sizes(linear)[1] == width for _, linear in linears)
    return Gate(module=projection, columns=slice(0, width // 2) if fused else None)


def _gate_inside(mlp: nn.Module) -> Gate | None:
    """A gated projection as a module of its own: two equal projections and an activation."""
    for child in mlp.children():
        linears = linears_of(child)
        if len(linears) == 2 and sizes(linears[0][1]) == sizes(linears[1][1]) and (activation := activation_of(child)) is not None:
            return Gate(module=activation, reads="input")
    return None


def expert_count(experts: nn.Module) -> int:
    """How many experts have weights."""
    if isinstance(experts, nn.ModuleList):
        return len(experts)
    stacked = [int(p.shape[0]) for p in experts.parameters(recurse=False) if p.ndim == 3]
    return min(stacked) if stacked else int(experts.num_experts)  # type: ignore[arg-type]


def moe_taps(
    decoder: nn.Module,
    block: nn.Module,
    experts: nn.Module,
    layer: int,
    paths: dict[int, str],
    config: Any,
    exceptions: Exceptions,
    bare: bool,
) -> list[Tap]:
    """Taps on the router logits and on every gate of a mixture-of-experts block, routed and shared; `block` is where its router is looked for.

    `bare`: router and experts lie in the layer itself, so that the experts alone are handed real tokens only. Raises InputError that names what is missing.
    """
    where = f"{paths[id(block)]} ({class_of(block)})"
    router = _router(decoder, block, experts, paths, where)
    parameter = _routing_matrix(router, expert_count(experts), where)
    told = not exceptions.routed_by_logits and not isinstance(experts, nn.ModuleList)
    site = Site(kind="router", layer=layer, module=paths[id(router)], detail=class_of(router))
    routed = Experts(
        module=experts,
        site=site.name,
        count=expert_count(experts),
        top_k=_top_k(config, router, block),
        choice="arguments" if told else "logits" if exceptions.routed_by_logits else "list",
        order=exceptions.routed_by_logits,
        skips=told and parameter.shape[0] > expert_count(experts),
    )
    if routed.choice != "arguments" and routed.top_k is None:
        raise unknown(f"{where}: how many experts a token takes is neither in the config nor in its router")
    gate = Site(kind="gate", layer=layer, module=paths[id(experts)], detail="experts")
    shared = [] if bare else shared_taps(block, layer, paths, exceptions, known=_parts(block, experts, router))
    logits = Tap(site=site, module=router, reads="product", parameter=parameter, experts=routed, in_moe=not bare)
    return [logits, *_routed_gates(block, experts, gate, routed, exceptions, where), *shared]


def _router(decoder: nn.Module, block: nn.Module, experts: nn.Module, paths: dict[int, str], where: str) -> nn.Module:
    """The module that computes router logits: declared, or by structure the one that holds a row of weights for every expert."""
    inside = {id(module) for module in experts.modules()}
    outside = [module for module in block.modules() if module is not block and id(module) not in inside]
    declared = [m for m in outside if declares(decoder, "router_logits", m, paths.get(id(m), ""))]
    if len(declared) == 1:
        return declared[0]
    count = expert_count(experts)
    routers = [m for m in outside if any(p.ndim == 2 and p.shape[0] == count for p in m.parameters(recurse=False))]
    if len(routers) > 1:
        routers = [m for m in routers if words(paths.get(id(m), "").rsplit(".", 1)[-1]) & {"gate", "router"}]
    if len(routers) == 1:
        return routers[0]
    raise unknown(f"{where}: {len(routers)} modules could be the router of its {count} experts")


def _routing_matrix(router: nn.Module, count: int, where: str) -> nn.Parameter:
    """The matrix whose product with a token is the router logits; it may have more rows than there are experts with weights."""
    matrices = [p for p in router.parameters() if p.ndim == 2 and p.shape[0] >= count]
    fewest = min((p.shape[0] for p in matrices), default=0)
    found = [p for p in matrices if p.shape[0] == fewest]
    if len(found) != 1:
        raise unknown(f"{where}: {len(found)} matrices of {class_of(router)} could give the logits of {count} experts")
    return found[0]


def _routed_gates(block: nn.Module, experts: nn.Module, site: Site, routed: Experts, exceptions: Exceptions, where: str) -> Iterator[Tap]:
    def tap(gate: Gate) -> Tap:
        return Tap(
            site=site, module=gate.module, reads=gate.reads, columns=gate.columns, part="experts", experts=routed, in_moe=True
        )  # fmt: skip

    if isinstance(experts, nn.ModuleList):
        yield from (tap(gate) for expert in experts if (gate := gate_of(expert, exceptions)))
        return
    matrices = [p for p in (block if routed.choice == "logits" else experts).parameters() if p.ndim >= 2 and p.shape[0] >= routed.count]
    if len(matrices) == 2 and set(matrices[0].shape[1:]) == set(matrices[1].shape[1:]):
        return
    activations = [m for m in experts.modules() if is_activation(m)]
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
        raise unknown(f"{where}: the gate of its experts ({class_of(experts)}) cannot be read")


def shared_taps(block: nn.Module, layer: int, paths: dict[int, str], exceptions: Exceptions, known: Sequence[nn.Module] = ()) -> list[Tap]:
    """The gates of what every token passes beside the routed experts of a block; `known` are the parts of it that are read otherwise, or not.

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
            site = Site(kind="gate", layer=layer, module=paths[id(member)], detail=class_of(member))
            if len(stacked) == 3 and activation is not None:
                taps.append(Tap(site=site, module=activation, reads="input", layout="streams first", part=part, in_moe=True))
            elif not is_feed_forward(member):
                raise unknown(
                    f"{paths[id(member)]} ({class_of(member)}) holds matrices and is neither router, experts nor a feed-forward block"
                )
            elif gate := gate_of(member, exceptions):
                site = replace(site, module=paths[id(gate.module)])
                taps.append(Tap(site=site, module=gate.module, reads=gate.reads, columns=gate.columns, part=part, in_moe=True))
    return taps


def _parts(block: nn.Module, experts: nn.Module, router: nn.Module) -> list[nn.Module]:
    """The children of a block that hold its router and its experts; experts laid out in the block itself are several."""
    inside = [child for child in block.children() if any(m is router or m is experts for m in child.modules())]
    return inside + [child for child in block.children() if is_stacked(experts) and is_stacked(child) and type(child) is type(experts)]


def _top_k(config: Any, router: nn.Module, block: nn.Module) -> int | None:
    stated = [getattr(module, "top_k", None) for module in (router, block)] + [getattr(config, name, None) for name in _TOP_K]
    return next((value for value in stated if isinstance(value, int)), None)
