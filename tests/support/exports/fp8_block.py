"""FP8 by blocks of 128 x 128, as DeepSeek and Qwen publish it: `weight_scale_inv` beside each weight."""

from pathlib import Path

import torch

from tests.support.exports.source import Tensors, linears_of, source, tensors_of, written

TOP = 448.0


def export(folder: Path, origin: Path | None = None, kind: str = "qwen3", block: int = 128) -> Path:
    """A checkpoint with every projection in E4M3; blocks at an edge may be smaller."""
    origin = origin or source(folder.with_name(f"{folder.name}-source"), kind)
    dense = tensors_of(origin)
    found: Tensors = dict(dense)
    for module, matrix in linears_of(dense):
        found[f"{module}.weight"], found[f"{module}.weight_scale_inv"] = quantized(matrix.float(), block)
    return written(
        origin,
        folder,
        found,
        {
            "quant_method": "fp8",
            "activation_scheme": "dynamic",
            "fmt": "e4m3",
            "weight_block_size": [block, block],
        },
    )


def quantized(matrix: torch.Tensor, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Levels in E4M3 [out, in], and the scale of each block, float32."""
    levels = torch.empty_like(matrix, dtype=torch.float8_e4m3fn)
    rows, columns = (-(-side // block) for side in matrix.shape)
    scales = torch.empty(rows, columns)
    for row in range(rows):
        for column in range(columns):
            here = slice(row * block, (row + 1) * block), slice(column * block, (column + 1) * block)
            scales[row, column] = matrix[here].abs().amax().clamp(min=1e-12) / TOP
            levels[here] = (matrix[here] / scales[row, column]).to(torch.float8_e4m3fn)
    return levels, scales
