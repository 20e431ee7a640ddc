"""What a Record says of weights in low bits: files in, plain data out."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import prod

import torch

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.lint.artifact import said_in
from pytest_maxact.checkpoint.lint.methods import stated_in
from pytest_maxact.checkpoint.lint.names import cache_of, expert_of, is_apart, layer_of
from pytest_maxact.checkpoint.lint.stated import Stated
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.weights.live import scan_live
from pytest_maxact.checkpoint.weights.restored import beside_of
from pytest_maxact.numbers.scan import WeightScan
from pytest_maxact.numbers.static import CACHE, INPUT, StaticScale, top_of
from pytest_maxact.record.low_bits import LowBits

_CACHE = (".k_scale", ".v_scale", ".q_scale", ".prob_scale", ".kv_scale")
_STATIC = ("input_scale", "activation_scale", "input_global_scale")


def low_bits_of(files: WeightFiles | None) -> LowBits | None:
    """None where all weights lie as they are loaded."""
    if files is None or files.packing is None:
        return None
    packing = files.packing
    bits, group = packing.usual
    beside = beside_of(files)
    stated = None if files.is_gguf else stated_in(said_in(files.folder))
    scales = sorted(_static(beside, stated), key=lambda scale: scale.tensor) if stated else []
    return LowBits(
        method=packing.stated.method,
        detail=packing.stated.detail,
        library=packing.library,
        weights=len(packing.packed),
        bits=bits,
        group=group,
        activations=packing.activations,
        reach={scale.module: scale.reach for scale in scales if scale.part == INPUT and not scale.apart},
        cache={name: _largest(tensor) for name, tensor in sorted(beside.items()) if name.endswith(_CACHE)},
        calls=_calls(stated),
        static=tuple(scales),
    )


def calls_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    """What a runtime is told to quantize by static scales, of `input` and `cache`, before any file is opened."""
    if checkpoint.quantized is None or checkpoint.gguf is not None:
        return ()
    return _calls(stated_in(said_in(checkpoint.folder)))


def _calls(stated: Stated | None) -> tuple[str, ...]:
    if stated is None:
        return ()
    return (*((INPUT,) if stated.static else ()), *((CACHE,) if stated.cache else ()))


def _static(beside: Mapping[str, torch.Tensor], stated: Stated) -> Iterator[StaticScale]:
    """The scales that a runtime reads: of modules whose inputs are said to be quantized by one, and of the cache."""
    for name, tensor in beside.items():
        module, _, own = name.rpartition(".")
        if (cached := cache_of(name)) and stated.cache:
            yield _scale(name, *cached, stated.cached, tensor)
        elif own in _STATIC and (spec := stated.spec(module)) and spec.static_inputs:
            zero = beside.get(f"{module}.input_zero_point")
            yield _scale(name, module, INPUT, spec.inputs, tensor, zero)


def _scale(
    name: str, module: str, part: str, number: str, scale: torch.Tensor, zero: torch.Tensor | None = None
) -> StaticScale:
    """One scale; of several the largest, and of one with a zero point the side that reaches farther."""
    top, stated = top_of(number), _largest(scale)
    upside = name.endswith("global_scale")
    offset = float(zero.float().abs().max()) if zero is not None and zero.numel() else 0.0
    reach = top / stated if upside and stated else math.inf if upside else stated * (top + offset)
    heads = (scale.float().abs() * top).flatten().tolist() if part in ("k", "v") and scale.numel() > 1 else ()
    return StaticScale(
        tensor=name, module=module, part=part, number=number, stated=stated, reach=reach, upside=upside,
        exact=number != "fp4_e2m1" and not offset and scale.numel() == 1, layer=layer_of(name), expert=expert_of(name),
        by_head=tuple(heads), apart=is_apart(name),
    )  # fmt: skip


def with_restored(scanned: Callable[[], WeightScan], loaded: LoadedModel) -> WeightScan:
    """A scan of files, as `scanned` gives it, with what is broken or empty among weights in low bits once given
    back: a scale that is zero, or too large, shows in nothing that is stored. Of a GGUF file they are what was scanned.
    """
    files, scan = loaded.files, scanned()
    if files is None or files.packing is None or files.is_gguf:
        return scan
    packed = files.packing.packed.values()
    live = scan_live(loaded.headed or loaded.model)
    more = {name: found for name, found in {**live.broken, **live.empty}.items() if name not in scan.named}
    return replace(
        scan,
        tensors=scan.tensors + len(packed),
        elements=scan.elements + sum(prod(one.shape) for one in packed),
        named={**scan.named, **{name: replace(found, file=files.entry) for name, found in more.items()}},
    )


def _largest(scale: torch.Tensor) -> float:
    return scale.float().abs().max().item() if scale.numel() else float("nan")
