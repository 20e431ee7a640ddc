"""A decoder's modules to its observed sites, resolved from what transformers declares, from structure, and from a small
table of exceptions.

A site that cannot be found is an error that says where it was looked for; what is not observed is listed with its
reason.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from pytest_maxact.checkpoint.sites.adapters import with_adapters, without_adapters
from pytest_maxact.checkpoint.sites.anatomy import Anatomy, Experts, Tap
from pytest_maxact.checkpoint.sites.attention import attention_taps
from pytest_maxact.checkpoint.sites.backbone import Backbone
from pytest_maxact.checkpoint.sites.decoder import beside_layers, decoder_of, embedding_of, final_norm_of, layers_of
from pytest_maxact.checkpoint.sites.experts import moe_taps, shared_taps
from pytest_maxact.checkpoint.sites.feed_forward import experts_in, gate_of, is_stacked
from pytest_maxact.checkpoint.sites.layer import Block, blocks_of, mixer_kind
from pytest_maxact.checkpoint.sites.linears import linear_taps, unread_matrices
from pytest_maxact.checkpoint.sites.modules import at, class_of, has, unknown
from pytest_maxact.checkpoint.sites.table import Exceptions, exceptions_of
from pytest_maxact.errors import InputError
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.site_map import LeftOut
from pytest_maxact.numbers.sites import Site, ranges


def resolve(
    model: nn.Module, config: Any, linear_inputs: bool = False, adapters: bool = False, attention: bool = False
) -> Anatomy:
    """The sites of a model's language backbone; paths of modules are those in `model`. Raises InputError that names
    what could not be found.

    `linear_inputs`: those of the linear layers beside those of the paper. `attention`: those of attention too.
    `adapters`: modules may be wrapped by those of PEFT, which are part of it.
    """
    if not adapters:
        return _resolve(model, config, linear_inputs, attention)
    with without_adapters(model) as wrappers:
        anatomy = _resolve(model, config, linear_inputs, attention)
    return with_adapters(anatomy, wrappers)


def _resolve(model: nn.Module, config: Any, linear_inputs: bool, attention: bool) -> Anatomy:
    if reason := exceptions_of(config).unsupported:
        raise InputError(f"{config.model_type} cannot be measured: {reason}")
    backbone = backbone_of(model, config)
    decoder, exceptions = backbone.decoder, backbone.exceptions
    embedding = embedding_of(decoder)
    if embedding is None:
        raise unknown(f"{class_of(decoder)}: it names no token embedding")
    layers = layers_of(backbone)
    taps = [
        Tap(
            site=Site(kind="embedding", module=backbone.path(embedding), detail=class_of(embedding)),
            module=embedding,
            once=True,
        )
    ]
    left_out: list[LeftOut] = []
    stripped: list[nn.Module] = []
    routed: list[Experts] = []
    lacking: dict[str, list[int]] = defaultdict(list)
    idle: dict[str, list[int]] = defaultdict(list)
    for index, layer in enumerate(layers):
        if class_of(layer) in exceptions.idle:
            idle[exceptions.idle[class_of(layer)]].append(index)
            continue
        found = _layer_taps(backbone, layer, index, linear_inputs, attention)
        taps += found.taps
        stripped += found.stripped
        routed += found.experts
        left_out += found.left_out
        for kind in _LACKING:
            if not any(tap.site.kind == kind for tap in found.taps):
                lacking[kind].append(index)
    beside = beside_layers(model, backbone, [*layers, *(tap.module for tap in taps)])
    norm = final_norm_of(backbone, layers)
    if isinstance(norm, LeftOut):
        left_out.append(norm)
    else:
        site = Site(kind="final_norm", module=backbone.path(norm), detail=class_of(norm))
        taps.append(Tap(site=site, module=norm, last=bool(exceptions.final_norm)))
    left_out += [LeftOut(what=f"layers {ranges(where)}", why=why) for why, where in idle.items()]
    for kind, where in lacking.items():
        what = kind if len(where) == len(layers) else f"{kind} of layers {ranges(where)}"
        left_out.append(LeftOut(what=what, why=_LACKING[kind], by_design=True))
    return Anatomy(
        taps=tuple(_laid_out(_numbered(taps), exceptions)),
        stripped=tuple(dict.fromkeys(stripped)),
        experts=tuple(routed),
        hidden_size=backbone.config.hidden_size,
        streams=exceptions.streams(backbone.config),
        layers=len(layers),
        left_out=tuple(dict.fromkeys([*beside, *_predictors(layers, backbone.config), *left_out])),
    )


def backbone_of(model: nn.Module, config: Any) -> Backbone:
    """The language backbone of a model; its configuration is the decoder's own, else the text part of the model's."""
    decoder = decoder_of(model)
    text = getattr(decoder, "config", None) or config.get_text_config()
    return Backbone(
        decoder=decoder,
        config=text,
        exceptions=exceptions_of(text),
        paths={id(module): name for name, module in model.named_modules()},
    )


_LACKING = {
    "attn_output": "no token mixer in these layers",
    "mlp_output": "no feed-forward block in these layers",
    "gate": "no gated feed-forward block in these layers",
}


@dataclass(slots=True)
class _LayerTaps:
    taps: list[Tap] = field(default_factory=list)
    stripped: list[nn.Module] = field(default_factory=list)
    experts: list[Experts] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def _layer_taps(backbone: Backbone, layer: nn.Module, index: int, linear_inputs: bool, attention: bool) -> _LayerTaps:
    blocks = blocks_of(backbone, layer, index)
    unread = backbone.exceptions.unread
    hidden = Site(kind="hidden", layer=index, module=backbone.path(layer), detail=class_of(layer))
    found = _LayerTaps(taps=[Tap(site=hidden, module=layer)])
    found.left_out += [replace(entry, what=f"layers.*.{entry.what}") for entry in blocks.left_out]
    found.left_out += [LeftOut(what=f"layers.*.{path}", why=why) for path, why in unread.items() if has(layer, path)]
    found.taps += _block_taps(backbone, "attn_output", blocks.mixers, index)
    found.taps += _block_taps(backbone, "mlp_output", blocks.feed_forwards, index)
    for block in blocks.feed_forwards:
        inner = backbone.exceptions.routed_in.get(class_of(block.inside))
        routed = at(block.inside, inner) if inner else block.inside
        bare = is_stacked(routed)
        experts = routed if bare else experts_in(routed)
        if experts is not None:
            taps = moe_taps(backbone, layer, index, layer if bare else routed, experts)
            if inner:
                known = [routed, *(layer.get_submodule(path) for path in unread if has(layer, path))]
                taps += shared_taps(backbone, block.inside, index, known)
            found.taps += taps
            found.stripped.append(block.inside)
            found.experts += [tap.experts for tap in taps if tap.site.kind == "router" and tap.experts is not None]
        elif gate := gate_of(block.inside, backbone.exceptions):
            site = Site(kind="gate", layer=index, module=backbone.path(gate.module), detail=class_of(block.inside))
            part = block.name if len(blocks.feed_forwards) > 1 else ""
            found.taps.append(Tap(site=site, module=gate.module, reads=gate.reads, columns=gate.columns, part=part))
    if linear_inputs:
        uncalled = backbone.exceptions.uncalled.items()
        found.left_out += [
            LeftOut(what=f"layers.*.{name}", why=why)
            for name, why in uncalled
            if any(name in path.split(".") for path, _ in layer.named_modules())
        ]
        found.taps += linear_taps(backbone, layer, index, blocks, found.taps, found.stripped)
        found.left_out += unread_matrices(layer, found.taps)
    if attention:
        taps, left_out = attention_taps(backbone, layer, index, blocks)
        found.taps += taps
        found.left_out += left_out
    return found


def _block_taps(backbone: Backbone, kind: str, blocks: Sequence[Block], index: int) -> list[Tap]:
    """Taps on a layer's blocks of one kind; several blocks are parts of one site."""
    taps = []
    for block in blocks:
        detail = mixer_kind(block) if kind == "attn_output" else class_of(block.inside)
        site = Site(kind=kind, layer=index, module=backbone.path(block.module), detail=detail)
        tap = Tap(site=site, module=block.module, part=block.name if len(blocks) > 1 else "")
        taps.append(tap if block.parameter is None else replace(tap, reads="product", parameter=block.parameter))
    return taps


def _numbered(taps: Iterable[Tap]) -> list[Tap]:
    """Modules that layers share are read once per layer, call by call in the order of the layers."""
    taps = list(taps)
    uses = Counter(tap.call for tap in taps)
    calls: Counter[tuple[int, str]] = Counter()
    numbered = []
    for tap in taps:
        if uses[tap.call] > 1:
            if tap.experts is not None:
                raise unknown(f"{tap.site.module}: routed experts shared between layers")
            tap = replace(tap, firing=calls[tap.call])
            calls[tap.call] += 1
        numbered.append(tap)
    return numbered


def _laid_out(taps: Iterable[Tap], exceptions: Exceptions) -> list[Tap]:
    return [
        (
            tap
            if tap.layout or tap.part == "experts"
            else replace(tap, layout=exceptions.layout.get(tap.site.kind, exceptions.layout.get("*", "")))
        )
        for tap in taps
    ]


def _predictors(layers: Sequence[nn.Module], config: Any) -> list[LeftOut]:
    count = int(getattr(config, "num_nextn_predict_layers", 0) or 0)
    return (
        [LeftOut(what="multi-token prediction", why=f"{counted(count, 'layer')} beyond the decoder's {len(layers)}")]
        if count
        else []
    )
