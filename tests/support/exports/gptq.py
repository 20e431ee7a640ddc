"""GPTQ as AutoGPTQ and GPTQModel write it: inputs packed along a column, one word after the other, zero points that the
first version keeps less one.
"""

from pathlib import Path

import torch

from tests.support.exports.source import Tensors, linears_of, source, tensors_of, written


def export(
    folder: Path, origin: Path | None = None, kind: str = "qwen3", bits: int = 4, group: int = 64,
    symmetric: bool = False, act_order: bool = False, version: int = 1,
) -> Path:  # fmt: skip
    """A checkpoint with every projection in 2, 3, 4 or 8 bits; `act_order`: groups of inputs that lie apart."""
    origin = origin or source(folder.with_name(f"{folder.name}-source"), kind)
    dense = tensors_of(origin)
    found: Tensors = dict(dense)
    for number, (module, matrix) in enumerate(linears_of(dense)):
        del found[f"{module}.weight"]
        width = matrix.shape[1]
        size = width if group == -1 else group
        order = torch.randperm(width, generator=torch.Generator().manual_seed(number))
        group_of = torch.arange(width) // size
        group_of = group_of[order] if act_order else group_of
        levels, scales, zeros = quantized(matrix.float(), group_of, bits, symmetric)
        kept = zeros - 1 if version == 1 else zeros
        found[f"{module}.qweight"] = packed(levels.t(), bits)
        found[f"{module}.qzeros"] = packed(kept, bits).t()
        found[f"{module}.scales"] = scales.t().half()
        found[f"{module}.g_idx"] = group_of.int()
    return written(
        origin,
        folder,
        found,
        {
            "quant_method": "gptq",
            "bits": bits,
            "group_size": group,
            "desc_act": act_order,
            "sym": symmetric,
            "lm_head": False,
            "checkpoint_format": "gptq" if version == 1 else "gptq_v2",
        },
    )


def quantized(
    matrix: torch.Tensor, group_of: torch.Tensor, bits: int, symmetric: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Levels [out, in], scales and zero points [out, groups] of a matrix whose column i is of group `group_of[i]`."""
    top = (1 << bits) - 1
    levels = torch.empty_like(matrix, dtype=torch.int32)
    scales, zeros = [], []
    for group in range(int(group_of.max()) + 1):
        part = matrix[:, group_of == group]
        low, high = part.amin(1, keepdim=True).clamp(max=0), part.amax(1, keepdim=True).clamp(min=0)
        dead = low == high
        low, high = low.masked_fill(dead, -1.0), high.masked_fill(dead, 1.0)
        if symmetric:
            reach = torch.maximum(-low, high)
            low, high = -reach, reach
        scale = ((high - low) / top).half().float()
        zero = torch.full_like(scale, (top + 1) / 2) if symmetric else (-low / scale).round().clamp(1, top)
        levels[:, group_of == group] = (part / scale + zero).round().clamp(0, top).int()
        scales.append(scale)
        zeros.append(zero.int())
    return levels, torch.cat(scales, 1), torch.cat(zeros, 1)


def packed(levels: torch.Tensor, bits: int) -> torch.Tensor:
    """Integers [n, m] in words of 32 bits [n x bits / 32, m], the first in the lowest bits: a stream
    of bits, so that one of 3 may lie across two words.
    """
    stream = (levels.long().unsqueeze(1) >> torch.arange(bits).view(1, -1, 1)) & 1
    words = stream.flatten(0, 1).unflatten(0, (-1, 32)) << torch.arange(32).view(1, -1, 1)
    return words.sum(1).to(torch.int32)
