"""MXFP8: E4M3 in groups of 32 along a row, each with a power of two kept as the byte of its exponent."""

from pathlib import Path

import torch

from tests.support.exports.source import Tensors, linears_of, source, tensors_of, written

TOP, GROUP = 448.0, 32


def export(folder: Path, origin: Path | None = None, kind: str = "qwen3") -> Path:
    """A checkpoint with every projection in eight bits."""
    origin = origin or source(folder.with_name(f"{folder.name}-source"), kind)
    dense = tensors_of(origin)
    found: Tensors = dict(dense)
    for module, matrix in linears_of(dense):
        groups = matrix.float().unflatten(1, (-1, GROUP))
        exponents = (groups.abs().amax(-1) / TOP).log2().ceil().clamp(-127, 127)
        levels = (groups / exponents.exp2().unsqueeze(-1)).clamp(-TOP, TOP).to(torch.float8_e4m3fn)
        found[f"{module}.weight"] = levels.flatten(1)
        found[f"{module}.weight_scale_inv"] = (exponents + 127).to(torch.uint8)
    stated = {"quant_method": "mxfp8", "activation_scheme": "dynamic", "modules_to_not_convert": ["lm_head"]}
    return written(origin, folder, found, stated)
