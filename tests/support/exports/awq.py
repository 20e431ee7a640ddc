"""AWQ as AutoAWQ writes it (`gemm`): outputs packed along a row in the order 0 2 4 6 1 3 5 7, zero points as is."""

from pathlib import Path

import torch

from tests.support.exports.gptq import packed, quantized
from tests.support.exports.source import Tensors, linears_of, source, tensors_of, written

ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def export(
    folder: Path, origin: Path | None = None, kind: str = "qwen3", group: int = 64, symmetric: bool = False
) -> Path:  # fmt: skip
    """A checkpoint with every projection in 4 bits; `symmetric`: without zero points."""
    origin = origin or source(folder.with_name(f"{folder.name}-source"), kind)
    dense = tensors_of(origin)
    found: Tensors = dict(dense)
    for module, matrix in linears_of(dense):
        del found[f"{module}.weight"]
        levels, scales, zeros = quantized(matrix.float(), torch.arange(matrix.shape[1]) // group, 4, symmetric)
        found[f"{module}.qweight"] = _in_order(levels.t())
        if not symmetric:
            found[f"{module}.qzeros"] = _in_order(zeros.t())
        found[f"{module}.scales"] = scales.t().half()
    return written(
        origin,
        folder,
        found,
        {
            "quant_method": "awq",
            "bits": 4,
            "group_size": group,
            "zero_point": not symmetric,
            "version": "gemm",
            "modules_to_not_convert": ["lm_head"],
        },
    )


def _in_order(levels: torch.Tensor) -> torch.Tensor:
    """Integers [n, m] in words [n, m / 8], eight neighbours of a row in AWQ's order."""
    ordered = levels.unflatten(1, (-1, 8))[:, :, ORDER].flatten(1)
    return packed(ordered.t(), 4).t()
