"""Where attention is read: the token mixers of a decoder layer in, taps on their queries, keys and values out.

A module is read that hands these to transformers' attention interface, whatever implementation stands behind it; what
computes its attention itself is left out, and said so.
"""

import inspect
from collections.abc import Iterator

from torch import nn

from pytest_maxact.checkpoint.sites.anatomy import Tap
from pytest_maxact.checkpoint.sites.backbone import Backbone
from pytest_maxact.checkpoint.sites.layer import Block, Blocks, mixer_kind
from pytest_maxact.checkpoint.sites.modules import class_of, sizes
from pytest_maxact.numbers.site_map import LeftOut
from pytest_maxact.numbers.sites import Site

_INTERFACE = "ALL_ATTENTION_FUNCTIONS.get_interface"
_READ = {"q": "query", "k": "key", "v": "value"}
_HEADS = ("head_dim", "attention_head_size", "head_size")
_OWN_HEADS = {"query": "qk_head_dim", "key": "qk_head_dim", "value": "v_head_dim"}


def attention_taps(backbone: Backbone, layer: nn.Module, index: int, blocks: Blocks) -> tuple[list[Tap], list[LeftOut]]:
    """Taps on what attention of one decoder layer multiplies and caches, and the mixers of which nothing is read."""
    beside = tuple(f"{entry.what}." for entry in blocks.left_out)
    found = {
        path: module
        for path, module in layer.named_modules()
        if hands_over(module) and not f"{path}.".startswith(beside or ("\n",))
    }
    if not found or backbone.exceptions.own_attention:
        return [], [_without(block, backbone.exceptions.own_attention) for block in blocks.mixers]
    taps: list[Tap] = []
    for path, module in found.items():
        taps += _taps(backbone, module, index, path if len(found) > 1 else "")
    return taps, []


def hands_over(module: nn.Module) -> bool:
    """Whether a module's own forward pass hands queries, keys and values to the attention interface."""
    try:
        return _INTERFACE in inspect.getsource(type(module).forward)
    except (OSError, TypeError):
        return False


def head_width(tap: Tap) -> int | None:
    """Channels of one head of what a tap of attention reads, of a latent state all of them, as its module states them;
    None where it states none. Nothing is run.
    """
    if tap.columns is not None:
        return -int(tap.columns.start)
    if tap.reads == "input":
        return sizes(tap.module)[1]
    stated = (getattr(tap.module, name, None) for name in (_OWN_HEADS[tap.reads], *_HEADS))
    return next((width for width in stated if isinstance(width, int) and width > 0), None)


def _taps(backbone: Backbone, module: nn.Module, index: int, part: str) -> Iterator[Tap]:
    def site(kind: str) -> Site:
        return Site(kind=kind, layer=index, module=backbone.path(module), detail=class_of(module))

    for kind, reads in _READ.items():
        yield Tap(site=site(kind), module=module, reads=reads, part=part)
    expands = getattr(module, "kv_b_proj", None)
    if not isinstance(expands, nn.Module):
        return
    prefix = f"{part}." if part else ""
    yield Tap(site=site("kv_latent"), module=expands, reads="input", part=f"{prefix}latent")
    if rotated := int(getattr(module, "qk_rope_head_dim", 0) or 0):
        yield Tap(
            site=site("kv_latent"),
            module=module,
            reads="first key",
            columns=slice(-rotated, None),
            part=f"{prefix}rope",
        )


def _without(block: Block, why: str) -> LeftOut:
    kind = mixer_kind(block)
    what = f"q, k, v of {class_of(block.inside)}"
    if kind != "attention":
        return LeftOut(what=what, why=f"{kind}, which has none", by_design=True)
    return LeftOut(what=what, why=why or "it computes attention itself, outside of transformers' attention interface")
