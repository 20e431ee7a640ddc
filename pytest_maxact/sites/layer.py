"""The blocks of one layer: its token mixers, its feed-forward blocks, and what is beside them.

Every child that holds matrices must turn out to be one of these. Declared attention classes come first, then structure, names last.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn

from pytest_maxact.sites.anatomy import LeftOut
from pytest_maxact.sites.feed_forward import experts_in, is_feed_forward
from pytest_maxact.sites.modules import at, class_of, declares, has_matrix, is_linear, is_norm, sizes, unknown, words
from pytest_maxact.sites.table import Exceptions

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
_FEED_FORWARD_WORDS = {"mlp", "ffn", "ff", "feed", "feedforward", "moe", "experts"}
_KINDS = (
    ("mamba", "Mamba"), ("ssm", "Mamba"), ("mlstm", "xLSTM"), ("rwkv", "RWKV"), ("rglru", "recurrent"), ("recurrent", "recurrent"),
    ("conv", "convolution"), ("delta", "linear attention"), ("linear", "linear attention"), ("lightning", "linear attention"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A mixer or a feed-forward block: `name` is its path in the layer, `module` is read at its output, or at the product with `parameter`.

    `inside` is the whole block where `module` is only its last projection.
    """

    name: str
    module: nn.Module
    inside: nn.Module
    parameter: nn.Parameter | None = None


@dataclass(slots=True)
class Blocks:
    """A layer's blocks in the order they were found, and what else it holds."""

    mixers: list[Block] = field(default_factory=list)
    feed_forwards: list[Block] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def blocks_of(decoder: nn.Module, layer: nn.Module, index: int, path: str, exceptions: Exceptions) -> Blocks:
    """The blocks of a layer. Raises InputError that names the layer and the child that is neither."""
    found = Blocks()
    if exceptions.mixers or exceptions.feed_forwards:
        found.mixers = [_at(decoder, layer, index, name) for name in exceptions.mixers]
        found.feed_forwards = [_at(decoder, layer, index, name) for name in exceptions.feed_forwards]
        return found
    if _bert_blocks(layer, found):
        return found
    where = f"{path} ({class_of(layer)})"
    unclear = _sort(decoder, layer, path, "", exceptions, found)
    if len(found.feed_forwards) > 1:
        unclear += [block for block in found.feed_forwards if not _is_called(block, _FEED_FORWARD_WORDS)]
    linears = [block for block in unclear if is_linear(block.module)]
    if not found.feed_forwards and _is_pair(linears):
        found.feed_forwards.append(linears[1])
        unclear = [block for block in unclear if block not in linears]
    if len(unclear) == 1 and not is_linear(unclear[0].module) and bool(found.mixers) != bool(found.feed_forwards):
        (found.feed_forwards if found.mixers else found.mixers).append(unclear.pop())
    if unclear:
        names = ", ".join(f"{block.name} ({class_of(block.module)})" for block in unclear)
        raise unknown(f"{where}: {names} hold matrices and are neither a mixer nor a feed-forward block")
    if not found.mixers and not found.feed_forwards:
        raise unknown(f"{where}: no child that could be a mixer or a feed-forward block")
    return found


def mixer_kind(block: Block) -> str:
    """What sort of token mixer it is, in a word or two."""
    names = block.name.lower() if is_linear(block.inside) else f"{block.name} {class_of(block.inside)}".lower()
    return next((kind for token, kind in _KINDS if token in names), "attention")


def _sort(decoder: nn.Module, layer: nn.Module, path: str, prefix: str, exceptions: Exceptions, found: Blocks) -> list[Block]:
    """Sort the children of a layer into `found`; those of which nothing can be said are returned."""
    unclear = []
    children = [(name, child) for name, child in _children(layer) if has_matrix(child)]
    cross = [name for name, child in children if name in _CROSS or declares(decoder, "cross_attentions", child, f"{path}.{name}")]
    for name, child in children:
        block = Block(name=prefix + name, module=child, inside=child)
        if name in exceptions.beside:
            found.left_out.append(LeftOut(what=name, why=exceptions.beside[name]))
        elif name in cross and len(cross) < len(children) - 1:
            found.left_out.append(LeftOut(what=name, why=_CROSS_REASON))
        elif is_norm(child):
            found.left_out.append(LeftOut(what=name, why="a norm with matrices of its own"))
        elif class_of(child).endswith("DecoderLayer"):
            unclear += _sort(decoder, child, f"{path}.{name}", f"{prefix}{name}.", exceptions, found)
        elif name == "router" and any(other == "experts" for other, _ in children):
            continue
        else:
            role = _role(decoder, child, name, f"{path}.{name}")
            (unclear if role is None else found.mixers if role == "mixer" else found.feed_forwards).append(block)
    return unclear


def _role(decoder: nn.Module, child: nn.Module, name: str, path: str) -> str | None:
    if is_linear(child):
        return None
    if declares(decoder, "attentions", child, path):
        return "mixer"
    if is_feed_forward(child) or (experts_in(child) is not None and {"gate", "router"} & set(dict(child.named_children()))):
        return "feed_forward"
    for text in (name, class_of(child)):
        said = words(text)
        if said & _MIXER_WORDS and not said & _FEED_FORWARD_WORDS:
            return "mixer"
        if said & _FEED_FORWARD_WORDS and not said & _MIXER_WORDS:
            return "feed_forward"
    return None


def _is_called(block: Block, known: set[str]) -> bool:
    return bool((words(block.name) | words(class_of(block.module))) & known)


def _children(layer: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Children of a layer; a list of blocks counts as its members."""
    for name, child in layer.named_children():
        if isinstance(child, nn.ModuleList):
            yield from ((f"{name}.{index}", member) for index, member in enumerate(child))
        else:
            yield name, child


def _is_pair(linears: list[Block]) -> bool:
    """Two projections, up and down again: a feed-forward block laid out in the layer itself."""
    return len(linears) == 2 and sizes(linears[0].module) == sizes(linears[1].module)[::-1]


def _bert_blocks(layer: nn.Module, found: Blocks) -> bool:
    """BERT's build: `attention.output.dense` and `output.dense` are what is added to the residual stream, which their parents then do."""
    children = dict(layer.named_children())
    if not {"attention", "intermediate", "output"} <= set(children):
        return False
    attention, output = children.pop("attention"), children.pop("output")
    found.mixers.append(Block(name="attention.output.dense", module=at(attention, "output.dense"), inside=attention))
    found.feed_forwards.append(Block(name="output.dense", module=at(output, "dense"), inside=children.pop("intermediate")))
    for name, child in children.items():
        if not has_matrix(child):
            continue
        if name not in _CROSS:
            raise unknown(f"{class_of(layer)}: {name} ({class_of(child)}) holds matrices beside the blocks of BERT's build")
        found.left_out.append(LeftOut(what=name, why=_CROSS_REASON))
    extra = [name for name, child in output.named_children() if name != "dense" and not is_norm(child) and has_matrix(child)]
    found.left_out += [LeftOut(what=f"output.{name}", why="an adapter after the block, read as hidden") for name in extra]
    return True


def _at(decoder: nn.Module, layer: nn.Module, index: int, name: str) -> Block:
    path, _, parameter = name.partition(":")
    root, path = (decoder, path.format(i=index)) if "{i}" in path else (layer, path)
    module = at(root, path)
    if not parameter:
        return Block(name=path, module=module, inside=module)
    weight = getattr(module, parameter, None)
    if not isinstance(weight, nn.Parameter):
        raise unknown(f"{class_of(module)}: no parameter {parameter!r}, where the table of exceptions expects one")
    return Block(name=path, module=module, inside=module, parameter=weight)
