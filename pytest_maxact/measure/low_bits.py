"""What a Record says of weights in low bits: files in, plain data out."""

from collections.abc import Callable
from dataclasses import replace
from math import prod

import torch

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.weights.live import scan_live
from pytest_maxact.checkpoint.weights.restored import beside_of
from pytest_maxact.numbers.scan import WeightScan
from pytest_maxact.record.low_bits import LowBits

_CACHE = ("k_scale", "v_scale", "q_scale", "prob_scale", "kv_scale")
_STATIC = ("input_scale", "activation_scale")


def low_bits_of(files: WeightFiles | None) -> LowBits | None:
    """None where all weights lie as they are loaded."""
    if files is None or files.packing is None:
        return None
    packing = files.packing
    bits, group = packing.usual
    reach: dict[str, float] = {}
    cache: dict[str, float] = {}
    for name, tensor in beside_of(files).items():
        module, _, own = name.rpartition(".")
        if own in _CACHE:
            cache[name] = _largest(tensor)
        elif own in _STATIC and packing.top:
            reach[module] = _largest(tensor) * packing.top
        elif own == "input_global_scale" and packing.top:
            scale = _largest(tensor)
            reach[module] = packing.top / scale if scale else float("inf")
    return LowBits(
        method=packing.stated.method,
        detail=packing.stated.detail,
        library=packing.library,
        weights=len(packing.packed),
        bits=bits,
        group=group,
        activations=packing.activations,
        reach=dict(sorted(reach.items())),
        cache=dict(sorted(cache.items())),
    )


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
