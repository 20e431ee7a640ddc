"""FP8 as FBGEMM takes it, and Llama 3.1 405B was published: a scale for every row, inputs by tokens as they come."""

from pathlib import Path

import torch

from tests.support.exports.source import Tensors, linears_of, source, tensors_of, written

TOP = 448.0


def export(folder: Path, origin: Path | None = None, kind: str = "qwen3") -> Path:
    """A checkpoint with every projection in E4M3."""
    origin = origin or source(folder.with_name(f"{folder.name}-source"), kind)
    dense = tensors_of(origin)
    found: Tensors = dict(dense)
    for module, matrix in linears_of(dense):
        scales = matrix.float().abs().amax(1, keepdim=True) / TOP
        found[f"{module}.weight"] = (matrix.float() / scales).to(torch.float8_e4m3fn)
        found[f"{module}.weight_scale"] = scales
    stated = {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0, "modules_to_not_convert": ["lm_head"]}
    return written(origin, folder, found, stated)
