"""The linear layers of one decoder layer, and the sites at which their inputs are read: what a low-bit kernel
quantizes.

Every linear layer below a decoder layer is read, whatever it is called; its place only decides the site it belongs to.
Left alone are routers, which are deployed in high precision, and what the layer's site map leaves out. Projections that
are given the same tensor are one part of a site.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import nn

from pytest_maxact.checkpoint.sites.anatomy import Experts, Tap
from pytest_maxact.checkpoint.sites.backbone import Backbone
from pytest_maxact.checkpoint.sites.layer import Block, Blocks
from pytest_maxact.checkpoint.sites.modules import class_of, is_convolution, is_linear, is_norm, sizes, unknown, words
from pytest_maxact.numbers.site_map import LeftOut
from pytest_maxact.numbers.sites import Site

_OUT = {"o", "out", "output", "wo", "dense"}
_DOWN = {"down", "w2", "fc2", "output", "out", "lin2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Linear:
    """A linear layer, its path below the decoder layer, and the block it belongs to."""

    path: str
    module: nn.Module
    block: Block
    mixes: bool


def linear_taps(
    backbone: Backbone,
    layer: nn.Module,
    index: int,
    blocks: Blocks,
    known: Iterable[Tap],
    stripped: Iterable[nn.Module],
) -> list[Tap]:
    """Taps on the input of every linear layer of a decoder layer.

    `known`: the layer's other taps, among them its routers'; `stripped`: its blocks that see real tokens only. Raises
    InputError for experts of which the input of the last projection cannot be told, and for two sets of them.
    """
    routers = [tap for tap in known if tap.site.kind == "router"]
    if len(routers) > 1:
        raise unknown(f"{backbone.named(layer)}: {len(routers)} sets of routed experts in one layer")
    routed = routers[0].experts if routers else None
    beside = {entry.what for entry in blocks.left_out} | set(backbone.exceptions.unread)
    members = set() if routed is None else {id(module) for module in routed.module.modules()}
    inside_moe = {id(module) for block in stripped for module in block.modules()}
    router = {id(module) for tap in routers for module in tap.module.modules()}
    uncalled = set(backbone.exceptions.uncalled)
    taps = list(_expert_taps(backbone, index, routed)) if routed is not None else []
    found: dict[str, list[_Linear]] = {}
    for path, module in _linear_modules(layer, blocks):
        if (
            id(module) in members
            or id(module) in router
            or any(path == name or path.startswith(f"{name}.") for name in beside)
        ):
            continue
        if uncalled & set(path.split(".")):
            continue
        linear = _placed(path, module, blocks)
        found.setdefault(linear.block.name, []).append(linear)
    for linears in found.values():
        last = _last(linears, backbone.config.hidden_size)
        for linear in linears:
            kind = (("qkv_in", "o_in") if linear.mixes else ("mlp_in", "down_in"))[linear in last]
            site = Site(kind=kind, layer=index, module=backbone.path(linear.module), detail=class_of(linear.module))
            weight = f"{backbone.path(linear.module)}.weight"
            in_moe = id(linear.module) in inside_moe
            taps.append(
                Tap(site=site, module=linear.module, reads="input", part=linear.path, in_moe=in_moe, weights=(weight,))
            )
    return taps


def unread_matrices(layer: nn.Module, taps: Iterable[Tap]) -> list[LeftOut]:
    """Matrices of a decoder layer that are part of no linear layer and of no routed experts; convolutions, embeddings
    and routers, which deployments keep in 16 bits, are not meant.
    """
    known = {
        id(module)
        for tap in taps
        if tap.site.is_linear_input or tap.site.kind == "router"
        for module in tap.module.modules()
    }
    return [
        LeftOut(
            what=f"layers.*.{path}.{name}".replace("..", "."),
            why="no weight of a linear layer; what it is multiplied with is not read",
            elements=parameter.numel(),
        )
        for path, module in layer.named_modules()
        if id(module) not in known
        and not (is_linear(module) or is_convolution(module) or is_norm(module) or isinstance(module, nn.Embedding))
        for name, parameter in module.named_parameters(recurse=False)
        if sum(size > 1 for size in parameter.shape) >= 2
    ]


def _linear_modules(layer: nn.Module, blocks: Blocks) -> Iterator[tuple[str, nn.Module]]:
    """Linear layers below the decoder layer, or below a block that lies elsewhere."""
    seen: set[int] = set()
    roots = [("", layer), *((f"{block.name}.", block.inside) for block in (*blocks.mixers, *blocks.feed_forwards))]
    for prefix, root in roots:
        for name, module in root.named_modules():
            if is_linear(module) and id(module) not in seen:
                seen.add(id(module))
                yield (prefix + name).rstrip("."), module


def _placed(path: str, module: nn.Module, blocks: Blocks) -> _Linear:
    """The block of a linear layer: the one that holds it, else the one beside it under the same child of the layer,
    else the one it fits.
    """
    places = [(block, True) for block in blocks.mixers] + [(block, False) for block in blocks.feed_forwards]
    for block, mixes in places:
        if any(inner is module for inner in block.inside.modules()):
            return _Linear(path=path, module=module, block=block, mixes=mixes)
    for block, mixes in places:
        if block.name.split(".")[0] == path.split(".")[0] and "." in block.name:
            return _Linear(path=path, module=module, block=block, mixes=mixes)
    for block, mixes in places:
        if is_linear(block.module) and sizes(block.module) == sizes(module)[::-1]:
            return _Linear(path=path, module=module, block=block, mixes=mixes)
    block, mixes = places[0]
    return _Linear(path=path, module=module, block=block, mixes=mixes)


def _last(linears: list[_Linear], width: int) -> list[_Linear]:
    """The projections of a block that lead back to the residual stream: called so, or read as its output, or the last
    one of that width.
    """
    if own := [linear for linear in linears if linear.module is linear.block.module]:
        return own
    back = [linear for linear in linears if sizes(linear.module)[0] == width]
    if len(linears) == 1 or not back:
        return []
    names = _OUT if back[0].mixes else _DOWN
    called = [linear for linear in back if _name(linear) & names or linear.path.endswith("c_proj")]
    if called:
        return called if not called[0].mixes else called[-1:]
    narrow = [linear for linear in back if sizes(linear.module)[1] != width]
    return (narrow if not back[0].mixes and narrow else back)[-1:]


def _name(linear: _Linear) -> set[str]:
    return words(linear.path.removeprefix(linear.block.name).replace(".", "_"))


def _expert_taps(backbone: Backbone, index: int, routed: Experts) -> Iterator[Tap]:
    """Routed experts: what they are given, and what their last projection is given."""
    experts = routed.module
    prefix = backbone.path(experts)

    def site(kind: str) -> Site:
        return Site(kind=kind, layer=index, module=prefix, detail="experts")

    if isinstance(experts, nn.ModuleList):
        for expert in experts:
            linears = [(name, child) for name, child in expert.named_modules() if is_linear(child)]
            back = [child for name, child in linears if sizes(child)[0] == sizes(linears[0][1])[1]]
            for _, child in linears:
                kind = "down_in" if child is back[-1] else "mlp_in"
                yield Tap(
                    site=site(kind),
                    module=child,
                    reads="input",
                    part="experts",
                    experts=routed,
                    in_moe=True,
                    weights=(f"{backbone.path(child)}.weight",),
                )
        return
    stacked = {
        name: parameter
        for name, parameter in experts.named_parameters(recurse=False)
        if parameter.ndim >= 2 and parameter.shape[0] >= routed.count
    }
    matrices = {name: parameter for name, parameter in stacked.items() if parameter.ndim == 3} or stacked
    if len(matrices) == 1:
        yield from _paired_taps(backbone, index, routed)
        return
    down = [name for name in matrices if words(name) & {"down", "w2", "output", "out", "fc2"}]
    if len(down) != 1:
        raise unknown(
            f"{backbone.named(experts)}: {len(down)} of the matrices {', '.join(matrices)} could be the last projection"
            " of these experts"
        )
    up = tuple(f"{prefix}.{name}" for name in matrices if name != down[0])
    given = routed if routed.choice == "logits" else None
    yield Tap(
        site=site("mlp_in"), module=experts, reads="input", part="experts", experts=given, in_moe=True, weights=up
    )
    yield Tap(
        site=site("down_in"),
        module=experts,
        reads="factor",
        parameter=matrices[down[0]],
        part="experts",
        experts=routed,
        in_moe=True,
        weights=(f"{prefix}.{down[0]}",),
    )


def _paired_taps(backbone: Backbone, index: int, routed: Experts) -> Iterator[Tap]:
    """Experts as two modules of one stacked matrix each, one that leads in and one that leads out."""
    first = routed.module
    path, _, _ = backbone.path(first).rpartition(".")
    parent = backbone.decoder.get_submodule(path.removeprefix(backbone.path(backbone.decoder)).lstrip("."))
    siblings = [(name, child) for name, child in parent.named_children() if type(child) is type(first)]
    if len(siblings) != 2:
        raise unknown(
            f"{backbone.named(first)}: {len(siblings)} such modules beside one another, where two make up experts"
        )
    for kind, (name, child) in zip(("mlp_in", "down_in"), siblings, strict=True):
        weights = tuple(
            f"{path}.{name}.{parameter}"
            for parameter, value in child.named_parameters(recurse=False)
            if value.ndim == 3
        )
        where = Site(kind=kind, layer=index, module=f"{path}.{name}", detail="experts")
        yield Tap(site=where, module=child, reads="input", part="experts", experts=routed, in_moe=True, weights=weights)
