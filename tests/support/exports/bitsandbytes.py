"""bitsandbytes as transformers saves it: int8 by rows, and NF4 whose scales of blocks are quantized themselves."""

import json
from pathlib import Path

import torch

from tests.support.exports.source import Tensors, linears_of, source, tensors_of, written

NF4 = torch.tensor(
    [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ]
)  # fmt: skip
BLOCK, NESTED = 64, 256


def export(folder: Path, origin: Path | None = None, kind: str = "qwen3", bits: int = 4) -> Path:
    """A checkpoint with every projection in 4 or 8 bits."""
    origin = origin or source(folder.with_name(f"{folder.name}-source"), kind)
    dense = tensors_of(origin)
    found: Tensors = dict(dense)
    for module, matrix in linears_of(dense):
        local = _nf4(matrix.float()) if bits == 4 else _int8(matrix.float())
        found.update({f"{module}.{name}": tensor for name, tensor in local.items()})
    stated = {"quant_method": "bitsandbytes", f"load_in_{bits}bit": True}
    return written(origin, folder, found, stated)


def _int8(matrix: torch.Tensor) -> Tensors:
    top = matrix.abs().amax(1)
    levels = (matrix / top.unsqueeze(1) * 127).round().to(torch.int8)
    return {"weight": levels, "SCB": top, "weight_format": torch.tensor(0, dtype=torch.uint8)}


def _nf4(matrix: torch.Tensor) -> Tensors:
    blocks = matrix.flatten().unflatten(0, (-1, BLOCK))
    absmax = blocks.abs().amax(1)
    codes = (blocks / absmax.unsqueeze(1)).unsqueeze(-1).sub(NF4).abs().argmin(-1).flatten().to(torch.uint8)
    table, offset = torch.linspace(-1, 1, 256), absmax.mean()
    centred = torch.nn.functional.pad(absmax - offset, (0, -absmax.numel() % NESTED)).unflatten(0, (-1, NESTED))
    above = centred.abs().amax(1)
    inner = (centred / above.unsqueeze(1)).unsqueeze(-1).sub(table).abs().argmin(-1).flatten()[: absmax.numel()]
    state = {
        "quant_type": "nf4", "blocksize": BLOCK, "dtype": "bfloat16", "shape": list(matrix.shape),
        "nested_blocksize": NESTED, "nested_dtype": "float32", "nested_offset": offset.item(),
    }  # fmt: skip
    return {
        "weight": (codes[0::2] << 4 | codes[1::2]).unsqueeze(1),
        "weight.absmax": inner.to(torch.uint8),
        "weight.quant_map": NF4.clone(),
        "weight.nested_absmax": above,
        "weight.nested_quant_map": table,
        "weight.quant_state.bitsandbytes__nf4": torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8),
    }
