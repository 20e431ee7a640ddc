"""The blocks of one layer: its token mixers, its feed-forward blocks, and what is beside them.

Every child that holds matrices must turn out to be one of these. Declared attention classes come first, then what a
child is called, then how it is built; a child of which none of these says anything is the block that is missing, if one
is.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn

from pytest_maxact.checkpoint.sites.backbone import Backbone, stated_at
from pytest_maxact.checkpoint.sites.feed_forward import experts_in, is_feed_forward
from pytest_maxact.checkpoint.sites.modules import (
    at,
    class_of,
    has_matrix,
    is_linear,
    is_norm,
    linears_of,
    sizes,
    unknown,
    words,
)
from pytest_maxact.numbers.site_map import LeftOut

_CROSS = {"encoder_attn", "crossattention", "cross_attn", "inter_attention"}
_CROSS_REASON = "attends to an encoder, and does not run on text alone"
_MIXER_WORDS = {
    "attention",
    "attn",
    "att",
    "mixer",
    "mamba",
    "mamba2",
    "conv",
    "ssm",
    "temporal",
    "mlstm",
    "slstm",
    "lstm",
    "rwkv",
    "delta",
}
_FEED_FORWARD_WORDS = {"mlp", "mlps", "ffn", "ff", "feed", "feedforward", "moe", "experts"}
_MIXER_CLASS = re.compile(r"(attention|attn|mixer|mamba2?|deltanet|mla|conv|ssm|lstm)$")
_FEED_FORWARD_CLASS = re.compile(r"(mlp|ffn|feedforward|moe|experts)$")
_KINDS = (
    ({"mamba", "mamba2", "ssm"}, "Mamba"),
    ({"mlstm", "slstm", "lstm"}, "xLSTM"),
    ({"rwkv"}, "RWKV"),
    ({"conv"}, "convolution"),
    ({"delta", "linear", "lightning"}, "linear attention"),
    ({"attention", "attn"}, "attention"),
    ({"recurrent", "rglru"}, "recurrent"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A mixer or a feed-forward block: `name` is its path in the layer, `module` is read at its output, or at the
    product with `parameter`.

    `inside` is the whole block where `module` is only its last projection.
    """

    name: str
    module: nn.Module
    inside: nn.Module
    parameter: nn.Parameter | None = None


@dataclass(slots=True)
class Blocks:
    """A layer's blocks in the order they were found, and what else it holds. `unclear`: not sorted yet."""

    mixers: list[Block] = field(default_factory=list)
    feed_forwards: list[Block] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    unclear: list[Block] = field(default_factory=list)


def blocks_of(backbone: Backbone, layer: nn.Module, index: int) -> Blocks:
    """The blocks of a layer. Raises InputError that names the layer and the child that is neither."""
    exceptions, found = backbone.exceptions, Blocks()
    if exceptions.mixers or exceptions.feed_forwards:
        found.mixers = [_at(backbone, layer, index, name) for name in exceptions.mixers]
        found.feed_forwards = [_at(backbone, layer, index, name) for name in exceptions.feed_forwards]
        return found
    if {"attention", "intermediate", "output"} <= set(dict(layer.named_children())):
        return _bert_blocks(backbone, layer)
    _sort(backbone, layer, "", found)
    _settle(found)
    if found.unclear:
        names = ", ".join(f"{block.name} ({class_of(block.module)})" for block in found.unclear)
        raise unknown(
            f"{backbone.named(layer)}: {names} hold matrices and are neither a mixer nor a feed-forward block"
        )
    if not found.mixers and not found.feed_forwards:
        raise unknown(f"{backbone.named(layer)}: no child that could be a mixer or a feed-forward block")
    return found


def mixer_kind(block: Block) -> str:
    """What sort of token mixer it is, in a word or two."""
    said = words(block.name) | (set() if is_linear(block.inside) else words(class_of(block.inside)))
    return next((kind for known, kind in _KINDS if said & known), "attention")


def _sort(backbone: Backbone, layer: nn.Module, prefix: str, found: Blocks) -> None:
    """Sort the children of a layer into `found`."""
    children = [(name, child) for name, child in _children(layer) if has_matrix(child)]
    router = backbone.exceptions.router.partition(":")[0]
    cross = [name for name, child in children if name in _CROSS or backbone.declares("cross_attentions", child)]
    for name, child in children:
        block = Block(name=prefix + name, module=child, inside=child)
        if name in backbone.exceptions.beside:
            found.left_out.append(LeftOut(what=name, why=backbone.exceptions.beside[name]))
        elif name in cross and len(cross) < len(children) - 1:
            found.left_out.append(LeftOut(what=name, why=_CROSS_REASON))
        elif is_norm(child):
            found.left_out.append(LeftOut(what=name, why="a norm with matrices of its own"))
        elif class_of(child).endswith("DecoderLayer"):
            _sort(backbone, child, f"{prefix}{name}.", found)
        elif (name == "router" or block.name == router) and any(other == "experts" for other, _ in children):
            continue
        else:
            role = _role(backbone, child, name, routes=router.startswith(f"{block.name}."))
            (found.unclear if role is None else found.mixers if role == "mixer" else found.feed_forwards).append(block)


def _role(backbone: Backbone, child: nn.Module, name: str, routes: bool) -> str | None:
    """`routes`: the table of exceptions has its router in there."""
    if is_linear(child):
        return None
    if backbone.declares("attentions", child):
        return "mixer"
    kind = re.sub(r"(block|layer|module)$", "", class_of(child).lower())
    mixes = bool(words(name) & _MIXER_WORDS or _MIXER_CLASS.search(kind))
    feeds = bool(words(name) & _FEED_FORWARD_WORDS or _FEED_FORWARD_CLASS.search(kind))
    if mixes != feeds:
        return "mixer" if mixes else "feed_forward"
    routes = routes or bool({"gate", "router"} & set(dict(child.named_children())))
    if is_feed_forward(child) or (routes and experts_in(child) is not None):
        return "feed_forward"
    return "mixer" if mixes else None


def _settle(found: Blocks) -> None:
    """Give what is unclear its place where the rest leaves only one; of several feed-forward blocks, all must be called
    so.
    """
    if len(found.feed_forwards) > 1:
        found.unclear += [block for block in found.feed_forwards if not _called_feed_forward(block)]
        found.feed_forwards = [block for block in found.feed_forwards if _called_feed_forward(block)]
    linears = [block for block in found.unclear if is_linear(block.module)]
    if not found.feed_forwards and len(linears) == 2 and sizes(linears[0].module) == sizes(linears[1].module)[::-1]:
        found.feed_forwards.append(linears[1])
        found.unclear = [block for block in found.unclear if block not in linears]
    if len(found.unclear) != 1 or is_linear(found.unclear[0].module):
        return
    holds_feed_forward = any(is_feed_forward(module) for module in found.unclear[0].module.modules())
    if found.mixers and not found.feed_forwards:
        found.feed_forwards.append(found.unclear.pop())
    elif found.feed_forwards and not found.mixers and not holds_feed_forward:
        found.mixers.append(found.unclear.pop())


def _called_feed_forward(block: Block) -> bool:
    return bool((words(block.name) | words(class_of(block.module))) & _FEED_FORWARD_WORDS)


def _children(layer: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Children of a layer; a list of blocks counts as its members."""
    for name, child in layer.named_children():
        if isinstance(child, nn.ModuleList):
            yield from ((f"{name}.{index}", member) for index, member in enumerate(child))
        else:
            yield name, child


def _bert_blocks(backbone: Backbone, layer: nn.Module) -> Blocks:
    """BERT's build: `attention.output.dense` and `output.dense` are what is added to the residual stream, which their
    parents then do.
    """
    children, found = dict(layer.named_children()), Blocks()
    attention, intermediate, output = (children.pop(name) for name in ("attention", "intermediate", "output"))
    last = at(output, "dense")
    up = [sizes(linear) for _, linear in linears_of(intermediate)]
    if up != [sizes(last)[::-1]]:
        raise unknown(
            f"{backbone.named(layer)}: it cannot be told whether the feed-forward block of this build has a gate"
        )
    found.mixers.append(Block(name="attention.output.dense", module=at(attention, "output.dense"), inside=attention))
    found.feed_forwards.append(Block(name="output.dense", module=last, inside=intermediate))
    for name, child in children.items():
        if has_matrix(child) and name not in _CROSS:
            raise unknown(
                f"{backbone.named(layer)}: {name} ({class_of(child)}) holds matrices beside the blocks of BERT's build"
            )
        if has_matrix(child):
            found.left_out.append(LeftOut(what=name, why=_CROSS_REASON))
    extra = [
        name for name, child in output.named_children() if name != "dense" and not is_norm(child) and has_matrix(child)
    ]
    found.left_out += [
        LeftOut(what=f"output.{name}", why="an adapter after the block, read as hidden") for name in extra
    ]
    return found


def _at(backbone: Backbone, layer: nn.Module, index: int, name: str) -> Block:
    """A block by its path in the table of exceptions."""
    path, module, parameter = stated_at(backbone, layer, index, name)
    return Block(name=path, module=module, inside=module, parameter=parameter)
