"""The language backbone of a model: the decoder itself, its layers in the order they run, its token embedding, its
final norm.
"""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from pytest_maxact.checkpoint.sites.backbone import Backbone
from pytest_maxact.checkpoint.sites.modules import at, class_of, has_matrix, is_norm, unknown
from pytest_maxact.checkpoint.sites.table import DECODERS, Exceptions
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.site_map import LeftOut

_SENSES = {"vision", "visual", "image", "audio", "speech", "multi", "projector", "img", "pixel", "video"}


def decoder_of(model: nn.Module) -> nn.Module:
    """The language backbone: of a composite model its text part, of an encoder-decoder its decoder, of a model with a
    head its base.
    """
    if stated := DECODERS.get(getattr(getattr(model, "config", None), "model_type", "")):
        return _innermost(at(model, stated))
    found = getattr(model, "base_model", model)
    while True:
        inner = found.get_decoder() if hasattr(found, "get_decoder") else found  # type: ignore[operator]
        if not isinstance(inner, nn.Module) or inner is found:
            break
        found = inner
    return _innermost(found)


def _innermost(found: nn.Module) -> nn.Module:
    """The smallest model inside that still has the embedding and a stack of layers, and takes token ids."""
    while True:
        embedding = embedding_of(found)
        inner = [
            child
            for child in found.children()
            if embedding is not None
            and any(module is embedding for module in child.modules())
            and any(
                isinstance(module, nn.ModuleList) and any(has_matrix(m) and any(m.children()) for m in module)
                for module in child.modules()
            )
            and "input_ids" in inspect.signature(child.forward).parameters
        ]
        if len(inner) != 1:
            return found
        found = inner[0]


def embedding_of(decoder: nn.Module) -> nn.Module | None:
    """The token embedding, None where the model names none."""
    try:
        found = decoder.get_input_embeddings()  # type: ignore[operator]
    except (AttributeError, NotImplementedError):
        return None
    return found if isinstance(found, nn.Module) and any(_is_table(module) for module in found.modules()) else None


def _is_table(module: nn.Module) -> bool:
    """A table of embeddings, by its class or its one matrix; an image's patches come out of a convolution."""
    weight = getattr(module, "weight", None)
    return isinstance(module, nn.Embedding) or (
        isinstance(weight, nn.Parameter) and weight.ndim == 2 and not isinstance(module, nn.Linear)
    )


def depth_of(config: Any, exceptions: Exceptions) -> int:
    """How many layers the config says. Raises InputError where it does not."""
    depth = getattr(config, exceptions.depth, None)
    if not isinstance(depth, int):
        raise unknown(f"{type(config).__name__} does not say how many layers there are ({exceptions.depth})")
    return depth


def layers_of(backbone: Backbone) -> list[nn.Module]:
    """The layers in the order they run, a shared one as often as it runs."""
    decoder, config, exceptions = backbone.decoder, backbone.config, backbone.exceptions
    depth = depth_of(config, exceptions)
    if exceptions.layers is not None:
        listed = [layer for path in exceptions.layers(config) for layer in _unfold(at(decoder, path))]
        if len(listed) != depth:
            raise unknown(f"{class_of(decoder)}: found {counted(len(listed), 'layer')} where the config says {depth}")
        return listed
    stacks = [
        m
        for m in decoder.modules()
        if isinstance(m, nn.ModuleList) and len(m) and any(has_matrix(layer) for layer in m)
    ]
    declared = [s for s in stacks if any(backbone.declares("hidden_states", layer) for layer in s)]
    if len(declared) == 1 and len(declared[0]) == depth:
        return list(declared[0])
    predictors = int(getattr(config, "num_nextn_predict_layers", 0) or 0)
    nested = {id(inner) for outer in stacks for inner in outer.modules() if inner is not outer}
    lists = [m for m in stacks if id(m) not in nested and len(m) in (depth, depth + predictors)]
    if len(lists) == 1:
        return list(lists[0])[:depth]
    found = sum(len(stack) for stack in declared)
    raise unknown(
        f"{class_of(decoder)}: found {found} declared decoder layers and {len(lists)} module lists of that depth where"
        f" the config says {counted(depth, 'layer')}"
    )


def final_norm_of(backbone: Backbone, layers: Sequence[nn.Module]) -> nn.Module | LeftOut:
    """The norm after the last layer, or why there is none by design."""
    decoder, config, exceptions = backbone.decoder, backbone.config, backbone.exceptions
    if exceptions.final_norm:
        return at(decoder, exceptions.final_norm)
    if reason := exceptions.no_final_norm(config):
        return LeftOut(what="final_norm", why=reason, by_design=True)
    inside = {id(module) for layer in layers for module in layer.modules()}
    embedding = embedding_of(decoder)
    before = next((c for c in decoder.children() if any(m is embedding for m in c.modules())), None)
    inside |= {id(module) for module in before.modules()} if before is not None else set()
    norms: list[tuple[str, nn.Module]] = [
        (name, m)
        for name, m in decoder.named_modules()
        if m is not decoder and id(m) not in inside and _can_end(name, m, config.hidden_size)
    ]
    if norms:
        best = max(range(len(norms)), key=lambda place: (is_norm(norms[place][1]), "." not in norms[place][0], place))
        return norms[best][1]
    if _ends_in_norm(layers[-1]):
        return LeftOut(what="final_norm", why="each layer ends in a norm of its own", by_design=True)
    raise unknown(f"{class_of(decoder)}: no final norm of width {config.hidden_size} outside its layers")


def _can_end(name: str, module: nn.Module, width: int) -> bool:
    *parents, last = name.lower().split(".")
    if any("emb" in part for part in parents) or "emb" in last.removeprefix("embedding_norm") or of_senses(name):
        return False
    weights = list(module.parameters())
    return not has_matrix(module) and (any(p.shape == (width,) for p in weights) if weights else is_norm(module))


def _ends_in_norm(layer: nn.Module) -> bool:
    """BERT's build: the block that closes the layer adds the residual and normalises it."""
    output = getattr(layer, "output", None)
    return isinstance(output, nn.Module) and any(is_norm(child) for child in output.children())


def beside_layers(model: nn.Module, backbone: Backbone, observed: Iterable[nn.Module]) -> list[LeftOut]:
    """What holds matrices outside the layers and is not observed: other towers, other embeddings, heads."""
    inside = {id(module) for block in observed for module in block.modules()}
    found: dict[str, str] = {}
    decoder = backbone.decoder
    above = [
        module
        for module in model.modules()
        if module is not decoder and any(inner is decoder for inner in module.modules())
    ]
    for child in (child for module in above for child in module.children()):
        if has_matrix(child) and not any(inner is decoder for inner in child.modules()):
            found[backbone.path(child)] = "not part of the language backbone"
    for module in decoder.modules():
        own = any(sum(size > 1 for size in p.shape) >= 2 for p in module.parameters(recurse=False))
        path = backbone.path(module)
        if own and id(module) not in inside and not any(path.startswith(f"{known}.") for known in found):
            found.setdefault(*_beside(path, module))
    return [LeftOut(what=what, why=why) for what, why in found.items()]


def _beside(path: str, module: nn.Module) -> tuple[str, str]:
    parts = path.split(".")
    for end, part in enumerate(parts, 1):
        if of_senses(part):
            return ".".join(parts[:end]), "not part of the language backbone"
    every = ".".join("*" if part.isdecimal() else part for part in parts)
    if isinstance(module, nn.Embedding) or "embed" in class_of(module).lower():
        return every, "an embedding beside that of the tokens"
    return every, "outside the layers"


def of_senses(path: str) -> bool:
    """Whether a path is that of an image, audio or video part, or of what leads from one to the text."""
    return any(set(part.lower().split("_")) & _SENSES for part in path.split("."))


def _unfold(module: nn.Module) -> list[nn.Module]:
    return list(module) if isinstance(module, nn.ModuleList) else [module]
