"""FP8 as DeepSeek, Qwen and others publish it, and transformers reads it: a scale `weight_scale_inv` for each block
of a weight, or one for all of it. MXFP8 is the same with blocks of one row and powers of two, that of FBGEMM with a
scale for each row.

Blocks are those that the config states. transformers tells them by dividing, which fails, or gives other values, where
the last block of a side is smaller: DeepSeek's `kv_a_proj_with_mqa` has 576 rows. Where it divides, the values are its.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from pytest_maxact.checkpoint.formats.given import Given, dynamic, static
from pytest_maxact.checkpoint.formats.packed import Held, Packed, lacking
from pytest_maxact.checkpoint.formats.part import Part, Tensors
from pytest_maxact.checkpoint.formats.stated import Quantization
from pytest_maxact.numbers.schemes import Quantizer

NAMES = ("fp8", "mxfp8", "fbgemm_fp8")
_FP8 = ("F8_E4M3", "F8_E5M2")
_SUFFIXES = ("_scale_inv", "_scale")
_MX = (1, 32)


def packed(stated: Quantization, held: Held) -> Iterator[Packed]:
    """Every weight in eight bits that has a scale; stacks of experts too."""
    block = _block(stated)
    for key, part in held.parts.items():
        if part.dtype not in _FP8 or len(part.shape) < 2:
            continue
        scale = next((held.parts[key + suffix] for suffix in _SUFFIXES if key + suffix in held.parts), None)
        if scale is None:
            raise lacking(part, f"no scale lies beside it, though {stated.where} says {stated.words}")
        if scale.dtype not in ("F32", "BF16", "F16", "U8", "F8_E8M0"):
            raise lacking(part, f"its scale {scale.header.key} is {scale.dtype}")
        _refuse_other_grid(part, scale, block)
        yield Packed(
            key=key,
            shape=part.shape,
            parts={"weight": part, "scale": scale},
            restore=partial(restored, block=block),
            bits=8,
            group=block[1] if block else 0,
            given=_given(stated, block, held.modules.get(key.rpartition(".")[0], {})),
        )


def _block(stated: Quantization) -> tuple[int, int] | None:
    size = stated.entries.get("weight_block_size") or (_MX if stated.method == "mxfp8" else None)
    return (int(size[0]), int(size[1])) if size else None


def _refuse_other_grid(part: Part, scale: Part, block: tuple[int, int] | None) -> None:
    """Raise InputError where there are not as many scales as blocks: one too few leaves entries without."""
    rows, columns = part.shape[-2:]
    if block is not None:
        wanted = (*part.shape[:-2], -(-rows // block[0]), -(-columns // block[1]))
        if scale.shape == wanted:
            return
    elif scale.shape in ((), (1,), (1, 1), part.shape[:1], (*part.shape[:-1], 1), (*part.shape[:-2], 1, 1)):
        return
    made = f"blocks of {block[0]} x {block[1]}" if block else "one scale for a tensor or row"
    raise lacking(part, f"its scales are {list(scale.shape)}, where {made} of {list(part.shape)} were stated")


def restored(parts: Tensors, block: tuple[int, int] | None) -> Any:
    """In float32: the product that is rounded once, to the format of the model."""
    import torch

    weight, scale = parts["weight"].float(), parts["scale"]
    if scale.dtype == torch.uint8:
        scale = (scale.float() - 127.0).exp2()
    return weight * _spread(scale.float(), weight.shape, block)


def _spread(scale: Any, shape: Any, block: tuple[int, int] | None) -> Any:
    """The scales as they broadcast with a weight of this shape."""
    if block is not None:
        rows = scale.repeat_interleave(block[0], dim=-2)[..., : shape[-2], :]
        return rows.repeat_interleave(block[1], dim=-1)[..., : shape[-1]]
    if scale.numel() == 1:
        return scale.reshape(())
    return scale if scale.ndim == len(shape) else scale.reshape(-1, *[1] * (len(shape) - 1))


def inputs(stated: Quantization) -> str:
    """Dynamic by groups as wide as a block or by tokens, or by one static scale."""
    block = _block(stated)
    if _is_static(stated):
        return "fp8_e4m3 per tensor, static"
    return f"fp8_e4m3 per {f'group of {block[1]}' if block else 'token'}, dynamic"


def _given(stated: Quantization, block: tuple[int, int] | None, module: Mapping[str, Part]) -> Given:
    if _is_static(stated):
        return static(module, Quantizer(number="fp8_e4m3", granularity="tensor", static=True))
    if block is None:
        return dynamic(Quantizer(number="fp8_e4m3", granularity="row"))
    return dynamic(
        Quantizer(number="fp8_e4m3", granularity="group", group=block[1], scale="e8m0" if block == _MX else "")
    )


def _is_static(stated: Quantization) -> bool:
    return str(stated.entries.get("activation_scheme") or "dynamic").lower() == "static"
