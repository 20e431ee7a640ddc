"""bitsandbytes as transformers saves it: int8 by rows, and NF4 or FP4, whose scales of blocks may be quantized
themselves."""

import json
from pathlib import Path
from typing import Any

import torch

from tests.support.exports.source import Tensors, linears_of, source, tensors_of, written

NF4 = torch.tensor(
    [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ]
)  # fmt: skip
FP4 = torch.tensor([0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0]) / 12.0
TABLES = {"nf4": NF4, "fp4": torch.cat([FP4, -FP4])}
BLOCK, NESTED = 64, 256


def export(
    folder: Path, origin: Path | None = None, kind: str = "qwen3", bits: int = 4, table: str = "nf4",
    nested: bool = True, storage: torch.dtype = torch.uint8,
) -> Path:  # fmt: skip
    """A checkpoint with every projection in 4 or 8 bits; `nested`: maxima of blocks are quantized themselves;
    `storage`: the dtype under which the bytes of codes are kept.
    """
    origin = origin or source(folder.with_name(f"{folder.name}-source"), kind)
    dense = tensors_of(origin)
    found: Tensors = dict(dense)
    for module, matrix in linears_of(dense):
        local = _in_4_bits(matrix.float(), table, nested, storage) if bits == 4 else _int8(matrix.float())
        found.update({f"{module}.{name}": tensor for name, tensor in local.items()})
    stated = {"quant_method": "bitsandbytes", f"load_in_{bits}bit": True}
    return written(origin, folder, found, stated)


def _int8(matrix: torch.Tensor) -> Tensors:
    top = matrix.abs().amax(1)
    levels = (matrix / top.unsqueeze(1) * 127).round().to(torch.int8)
    return {"weight": levels, "SCB": top, "weight_format": torch.tensor(0, dtype=torch.uint8)}


def _in_4_bits(matrix: torch.Tensor, table: str, nested: bool, storage: torch.dtype) -> Tensors:
    levels, blocks = TABLES[table], matrix.flatten().unflatten(0, (-1, BLOCK))
    absmax = blocks.abs().amax(1)
    shares = blocks / torch.where(absmax == 0, 1.0, absmax).unsqueeze(1)
    codes = shares.unsqueeze(-1).sub(levels).abs().argmin(-1).flatten().to(torch.uint8)
    maxima, state = _nested(absmax) if nested else ({"weight.absmax": absmax}, {})
    state = {
        "quant_type": table, "blocksize": BLOCK, "dtype": "bfloat16", "shape": list(matrix.shape), **state
    }  # fmt: skip
    return {
        "weight": (codes[0::2] << 4 | codes[1::2]).view(storage).unsqueeze(1),
        "weight.quant_map": levels.clone(),
        **maxima,
        f"weight.quant_state.bitsandbytes__{table}": torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8),
    }


def _nested(absmax: torch.Tensor) -> tuple[Tensors, dict[str, Any]]:
    """Maxima of blocks in eight bits, and what the state says of them."""
    table, offset = torch.linspace(-1, 1, 256), absmax.mean()
    centred = torch.nn.functional.pad(absmax - offset, (0, -absmax.numel() % NESTED)).unflatten(0, (-1, NESTED))
    above = centred.abs().amax(1)
    inner = (centred / above.unsqueeze(1)).unsqueeze(-1).sub(table).abs().argmin(-1).flatten()[: absmax.numel()]
    tensors = {
        "weight.absmax": inner.to(torch.uint8), "weight.nested_absmax": above, "weight.nested_quant_map": table
    }  # fmt: skip
    return tensors, {"nested_blocksize": NESTED, "nested_dtype": "float32", "nested_offset": offset.item()}
