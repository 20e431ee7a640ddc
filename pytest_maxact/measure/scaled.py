"""What a pass reads: the sites that were asked for, and of a quantized artifact what its static scales quantize, where
nobody said which sites: a model and its config in, its anatomy out; with the scales of its files, no more than these
are of.

Guards that a static scale is held against real inputs without being asked for, and that nothing else comes of it: such
sites stand apart (`Anatomy.scaled`), are judged by no limit of a family and count in no figure.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from torch import nn

from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.sites.anatomy import Anatomy, Tap
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import InputError
from pytest_maxact.measure.low_bits import calls_of
from pytest_maxact.numbers.static import CACHE, INPUT, StaticScale
from pytest_maxact.settings.settings import Settings

_OF_PART = {"q": ("q",), "k": ("k", "kv_latent"), "v": ("v",), "kv": ("k", "v", "kv_latent")}
"""Kinds of sites that a scale of attention may be of."""


def observed(model: nn.Module, checkpoint: Checkpoint, settings: Settings, adapters: bool = False) -> Anatomy:
    """The sites of a model; paths and `adapters` as of `resolve`, and so are errors.

    Where those beside the asked ones cannot be found, they are left out, and their scales are said to be unchecked.
    """
    config: Any = checkpoint.config
    linear, attention = settings.linear_inputs, settings.attention
    anatomy = resolve(model, config, linear, adapters, attention)
    if settings.sites != "auto":
        return anatomy
    asked = {call for call, read in ((INPUT, linear), (CACHE, attention)) if read}
    wanted = set(calls_of(checkpoint)) - asked
    for calls in (wanted, wanted & {INPUT}, wanted & {CACHE}):
        with suppress(InputError):
            whole = resolve(model, config, linear or INPUT in calls, adapters, attention or CACHE in calls)
            scaled = {site.name for site in whole.sites} - {site.name for site in anatomy.sites}
            return replace(whole, left_out=anatomy.left_out, scaled=frozenset(scaled))
    return anatomy


def narrowed(anatomy: Anatomy, scales: Iterable[StaticScale]) -> Anatomy:
    """Without what is read for static scales and carries none. Where none of all inputs, or of all attention, does, it
    stays, for it is called for and lacking, which has to fail.
    """
    if not anatomy.scaled:
        return anatomy
    given = [scale for scale in scales if not scale.apart]
    inputs = _Inputs([scale for scale in given if scale.part == INPUT])
    cached = {(scale.layer, kind) for scale in given if scale.part != INPUT for kind in _OF_PART[scale.part]}
    latent = {tap.site.layer for tap in anatomy.taps if tap.site.kind == "kv_latent"}
    beside = [tap for tap in anatomy.taps if tap.site.name in anatomy.scaled]
    of_inputs = [tap for tap in beside if tap.site.is_linear_input]
    of_attention = [tap for tap in beside if tap.site.is_of_attention]
    own = [
        tap
        for tap in of_attention
        if (tap.site.layer, tap.site.kind) in cached and not (tap.site.kind in ("k", "v") and tap.site.layer in latent)
    ]
    kept = {id(tap) for tap in (*(list(filter(inputs.has, of_inputs)) or of_inputs), *(own or of_attention))}
    taps = tuple(tap for tap in anatomy.taps if tap.site.name not in anatomy.scaled or id(tap) in kept)
    return replace(anatomy, taps=taps, scaled=anatomy.scaled & {tap.site.name for tap in taps})


class _Inputs:
    """Static scales of inputs, by every end of the name of their module, and layers with one of a single expert, which
    a model may have in a stack.
    """

    def __init__(self, scales: Sequence[StaticScale]) -> None:
        steps = [scale.module.split(".") for scale in scales]
        self._ends = {".".join(own[start:]) for own in steps for start in range(len(own))}
        self._experts = {scale.layer for scale in scales if scale.expert is not None}

    def has(self, tap: Tap) -> bool:
        if tap.part == "experts" and tap.site.layer in self._experts:
            return True
        return any(weight.removesuffix(".weight") in self._ends for weight in tap.weights)
