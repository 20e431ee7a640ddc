"""MXFP4 as gpt-oss is published, and transformers reads it: `_blocks`, 32 entries in 16 bytes, and `_scales`, their
powers of two; each expert's matrix lies [out, in], and the model has it transposed.
"""

from collections.abc import Iterator
from typing import Any

from pytest_maxact.checkpoint.formats.packed import Held, Packed, lacking
from pytest_maxact.checkpoint.formats.part import Tensors
from pytest_maxact.checkpoint.formats.stated import Quantization

NAMES = ("mxfp4",)


def packed(stated: Quantization, held: Held) -> Iterator[Packed]:
    """Every stack of experts in four bits."""
    for key, blocks in held.parts.items():
        if not key.endswith("_blocks"):
            continue
        name = key.removesuffix("_blocks")
        scales = held.parts.get(f"{name}_scales")
        if scales is None:
            raise lacking(blocks, f"no {name}_scales lies beside it, though {stated.where} says {stated.words}")
        if blocks.dtype != "U8" or scales.dtype not in ("U8", "F8_E8M0") or len(blocks.shape) != 4:
            raise lacking(blocks, f"{list(blocks.shape)} beside scales that are {scales.dtype}: no stack in MXFP4")
        if blocks.shape[:-1] != scales.shape:
            raise lacking(blocks, f"has scales {list(scales.shape)} where {list(blocks.shape[:-1])} are called for")
        experts, out, groups, half = blocks.shape
        yield Packed(
            key=name,
            shape=(experts, groups * half * 2, out),
            parts={"blocks": blocks, "scales": scales},
            restore=_restored,
            bits=4,
            group=half * 2,
        )


def _restored(parts: Tensors) -> Any:
    import torch
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    return convert_moe_packed_tensors(parts["blocks"], parts["scales"].view(torch.uint8), dtype=torch.bfloat16)
