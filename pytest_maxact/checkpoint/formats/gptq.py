"""GPTQ, as AutoGPTQ and GPTQModel write it and vLLM reads it: `qweight` packed along inputs, `qzeros` along outputs,
`scales` of groups of inputs, and `g_idx`, the group of each input, which act-order scatters.

A reader of our own: their libraries need a GPU. In the first version of the format zero points are kept less one, and
one that was 0 has wrapped; `gptq_v2` keeps them as they are.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from pytest_maxact.checkpoint.formats.packed import Held, Packed, lacking, required
from pytest_maxact.checkpoint.formats.part import Part, Tensors
from pytest_maxact.checkpoint.formats.stated import Quantization
from pytest_maxact.checkpoint.formats.words import along, down
from pytest_maxact.errors import InputError

NAMES = ("gptq",)
_BITS = (2, 3, 4, 8)
_VERSIONS = ("gptq", "gptq_v2", "")


def packed(stated: Quantization, held: Held) -> Iterator[Packed]:
    """Every weight that lies in words."""
    bits = stated.entries.get("bits")
    version = str(stated.entries.get("checkpoint_format") or "")
    if version not in _VERSIONS or stated.entries.get("is_marlin_format"):
        raise _unread(stated, f"the layout {version or 'marlin'}")
    for name, module in held.modules.items():
        if "qweight" in module:
            own = _bits_of(name, stated) or bits
            if own not in _BITS:
                raise _unread(stated, f"{name} in {own} bits")
            yield _weight(name, module, own, 0 if version == "gptq_v2" else 1, stated)


def _unread(stated: Quantization, what: str) -> InputError:
    return InputError(
        f"{stated.where}: {what} is not read, of GPTQ in 2, 3, 4 or 8 bits and its versions gptq and gptq_v2\n"
        "  export the checkpoint in one of these"
    )


def _bits_of(name: str, stated: Quantization) -> int | None:
    """The bits of a module where they are its own: GPTQModel keeps them by pattern under `dynamic`."""
    import re

    for pattern, own in (stated.entries.get("dynamic") or {}).items():
        if pattern.startswith("-:"):
            continue
        if re.match(pattern.removeprefix("+:"), name) and isinstance(own, Mapping) and "bits" in own:
            return int(own["bits"])
    return None


def _weight(name: str, module: Mapping[str, Part], bits: int, offset: int, stated: Quantization) -> Packed:
    parts = required(module, ("qweight", "qzeros", "scales"), "qweight", stated)
    if "g_idx" in module:
        parts["g_idx"] = module["g_idx"]
    weight, scales = parts["qweight"], parts["scales"]
    if weight.dtype not in ("I32", "U32") or len(weight.shape) != 2 or len(scales.shape) != 2:
        raise lacking(weight, f"{list(weight.shape)} beside scales {list(scales.shape)}: no weight of GPTQ")
    width, out = weight.shape[0] * 32 // bits, weight.shape[1]
    groups = scales.shape[0]
    zeros = (groups, out * bits // 32)
    if scales.shape[1] != out or parts["qzeros"].shape != zeros or ("g_idx" not in parts and width % groups):
        raise lacking(
            weight, f"its scales are {list(scales.shape)} and its zero points {list(parts['qzeros'].shape)}, for a "
            f"weight of {out} x {width}",
        )  # fmt: skip
    if "g_idx" in parts and parts["g_idx"].shape != (width,):
        raise lacking(weight, f"its g_idx is {list(parts['g_idx'].shape)}, for {width} inputs")
    return Packed(
        key=f"{name}.weight",
        shape=(out, width),
        parts=parts,
        restore=partial(_restored, bits=bits, offset=offset),
        bits=bits,
        group=width // groups if groups > 1 else 0,
        dtype="F16" if scales.dtype == "F16" else "BF16",
    )


def _restored(parts: Tensors, bits: int, offset: int) -> Any:
    """(level - zero) x scale in the dtype of the scales, [out, in]."""
    import torch

    levels, scales = down(parts["qweight"], bits), parts["scales"]
    zeros = (along(parts["qzeros"], bits) + offset) & ((1 << bits) - 1 if offset == 0 else -1)
    width, groups = levels.shape[0], scales.shape[0]
    group = parts["g_idx"].long() if "g_idx" in parts else torch.arange(width) // (width // groups)
    if group.numel() and not (int(group.min()) >= 0 and int(group.max()) < groups):
        raise ValueError(f"g_idx names groups {int(group.min())} to {int(group.max())} of {groups}")
    return ((levels - zeros[group]).to(scales.dtype) * scales[group]).t().contiguous()
