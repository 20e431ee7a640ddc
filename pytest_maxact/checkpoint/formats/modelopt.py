"""ModelOpt's exports, as vLLM reads them: FP8 with one scale for a weight (or for each of its rows), and NVFP4, two
entries in a byte, a scale in FP8 for 16 of them and one scale above.

What a weight is follows from what lies beside it. ModelOpt itself needs no GPU to give a weight back, and is not wanted
for it: the product of levels and scales, in float32, is rounded once.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_maxact.checkpoint.formats.given import Given, dynamic, static
from pytest_maxact.checkpoint.formats.packed import Held, Packed, lacking, required
from pytest_maxact.checkpoint.formats.part import Part, Tensors
from pytest_maxact.checkpoint.formats.stated import Quantization
from pytest_maxact.errors import InputError
from pytest_maxact.numbers.schemes import Quantizer

NAMES = ("modelopt", "modelopt_fp4")
_PER_TOKEN = "FP8_PER_CHANNEL_PER_TOKEN"
_ALGOS = ("FP8", "NVFP4", "FP8_PB_WO", _PER_TOKEN, "MIXED_PRECISION")
_GROUP = 16
_INPUTS = {
    "FP8": "fp8_e4m3 per tensor, static",
    "NVFP4": f"fp4_e2m1 per group of {_GROUP}, static",
    _PER_TOKEN: "fp8_e4m3 per token, dynamic",
}
"""How inputs are quantized, by algorithm."""


def packed(stated: Quantization, held: Held) -> Iterator[Packed]:
    """Every weight in low bits."""
    algo = str(stated.entries.get("quant_algo") or "").upper()
    if algo not in _ALGOS and not leaves_weights(stated):
        raise InputError(
            f"{stated.where}: {algo or 'no quant_algo'} is not read, of ModelOpt's {', '.join(_ALGOS)}\n"
            "  export the checkpoint in one of these"
        )
    for name, module in held.modules.items():
        weight = module.get("weight")
        if weight is not None and weight.dtype == "U8":
            yield _nvfp4(name, module, stated)
        elif weight is not None and weight.dtype.startswith("F8_E"):
            yield _fp8(name, module, stated)


def _fp8(name: str, module: Mapping[str, Part], stated: Quantization) -> Packed:
    parts = required(module, ("weight", "weight_scale"), "weight", stated)
    rows, columns = parts["weight"].shape
    scale = parts["weight_scale"].shape
    tall, wide = (scale[0], scale[-1]) if len(scale) in (2, 4) else (0, 0)
    blocks = (len(scale) == 4 and scale[1] == scale[2] == 1) or len(scale) == 2
    if scale not in ((), (1,), (rows,)) and not (blocks and _divides(rows, tall) and _divides(columns, wide)):
        raise lacking(parts["weight"], f"its weight_scale is {list(scale)}, for a weight of {rows} x {columns}")
    return Packed(
        key=f"{name}.weight",
        shape=parts["weight"].shape,
        parts=parts,
        restore=of_fp8,
        bits=8,
        group=columns // wide if wide > 1 else 0,
        given=_given(_algo_of(name, stated) or "FP8", module),
    )


def _divides(side: int, blocks: int) -> bool:
    """Whether a side is cut into so many blocks of 128, or of one entry, or is one."""
    return blocks in (1, side) or blocks == -(-side // 128)


def of_fp8(parts: Tensors) -> Any:
    """Levels times scales in float32."""
    weight, scale = parts["weight"].float(), parts["weight_scale"].float()
    if scale.ndim < 2:
        return weight * (scale.reshape(-1, 1) if scale.numel() > 1 else scale.reshape(()))
    scale = scale.reshape(scale.shape[0], scale.shape[-1])
    for axis, side in enumerate(weight.shape):
        if scale.shape[axis] not in (1, side):
            scale = scale.repeat_interleave(128, axis).narrow(axis, 0, side)
    return weight * scale


def _nvfp4(name: str, module: Mapping[str, Part], stated: Quantization) -> Packed:
    parts = required(module, ("weight", "weight_scale", "weight_scale_2"), "weight", stated)
    rows, half = parts["weight"].shape if len(parts["weight"].shape) == 2 else (0, 0)
    scale, above = parts["weight_scale"], parts["weight_scale_2"]
    if (
        not rows
        or scale.shape != (rows, half * 2 // _GROUP)
        or scale.dtype != "F8_E4M3"
        or above.shape not in ((), (1,))
    ):
        raise lacking(
            parts["weight"], f"its weight_scale is {scale.dtype} {list(scale.shape)} and its weight_scale_2 "
            f"{list(above.shape)}, for {list(parts['weight'].shape)} bytes",
        )  # fmt: skip
    return Packed(
        key=f"{name}.weight", shape=(rows, half * 2), parts=parts, restore=of_nvfp4, bits=4, group=_GROUP,
        given=_given("NVFP4", module),
    )  # fmt: skip


def of_nvfp4(parts: Tensors) -> Any:
    """Likewise, two levels in a byte and two scales above."""
    import torch

    levels = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    levels = torch.cat([levels, -levels])
    bytes_ = parts["weight"]
    entries = levels[torch.stack([bytes_ & 0xF, bytes_ >> 4], -1).long()].flatten(1)
    scale = parts["weight_scale"].float() * parts["weight_scale_2"].float().reshape(())
    return (entries.reshape(*scale.shape, _GROUP) * scale.unsqueeze(-1)).flatten(1)


def _algo_of(name: str, stated: Quantization) -> str:
    """The algorithm of a module; empty where nothing says it."""
    algo = str(stated.entries.get("quant_algo") or "").upper()
    own = (stated.entries.get("quantized_layers") or {}).get(name) or {}
    return str(own.get("quant_algo") or "").upper() if algo == "MIXED_PRECISION" else algo


def _given(algo: str, module: Mapping[str, Part]) -> Given | None:
    if algo == "NVFP4":
        return static(module, Quantizer(number="fp4_e2m1", granularity="group", group=_GROUP, scale="e4m3"))
    if algo == "FP8":
        return static(module, Quantizer(number="fp8_e4m3", granularity="tensor", static=True))
    return dynamic(Quantizer(number="fp8_e4m3", granularity="row")) if algo == _PER_TOKEN else None


def inputs(stated: Quantization) -> str:
    """By one static scale, or by groups below one; where layers differ, each way that occurs."""
    layers = stated.entries.get("quantized_layers")
    own = [entry.get("quant_algo") for entry in layers.values()] if isinstance(layers, Mapping) else []
    algos = [str(algo or "").upper() for algo in own or [stated.entries.get("quant_algo")]]
    return "; ".join(dict.fromkeys(_INPUTS[algo] for algo in algos if algo in _INPUTS))


def leaves_weights(stated: Quantization) -> bool:
    """Whether the cache alone is quantized."""
    return not stated.entries.get("quant_algo") and bool(stated.entries.get("kv_cache_quant_algo"))
