"""MXFP4 as gpt-oss is published: stacks of experts as `_blocks`, two entries a byte, and `_scales`, powers of two."""

from pathlib import Path
from typing import Any

import torch
from compressed_tensors.compressors.nvfp4.helpers import pack_fp4_to_uint8

from pytest_maxact.checkpoint.quantize import quantize
from pytest_maxact.numbers.schemes import Quantizer
from tests.support.exports.source import Tensors, source, tensors_of, written

_SIZES: dict[str, Any] = {"intermediate_size": 128, "num_local_experts": 4}


def export(folder: Path, origin: Path | None = None) -> Path:
    """A tiny gpt-oss with its experts in 4 bits; in its source each stack is [experts, in, out]."""
    origin = origin or source(folder.with_name(f"{folder.name}-source"), "gpt_oss", **_SIZES)
    found: Tensors = {}
    for name, tensor in tensors_of(origin).items():
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            found[name] = tensor
            continue
        stack = tensor.transpose(1, 2).contiguous()
        experts, out, width = stack.shape
        groups = stack.float().reshape(-1, 32)
        done = quantize(groups, Quantizer(number="fp4_e2m1", granularity="group", group=32, scale="e8m0"))
        shares = (done.restored / done.levels).nan_to_num(0).amax(1)
        exponents = torch.where(shares > 0, shares.log2().round() + 127, torch.full_like(shares, 127.0))
        found[f"{name}_blocks"] = pack_fp4_to_uint8(done.levels).reshape(experts, out, width // 32, 16)
        found[f"{name}_scales"] = exponents.to(torch.uint8).reshape(experts, out, width // 32)
    keep = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    return written(origin, folder, found, {"quant_method": "mxfp4", "modules_to_not_convert": keep})
