"""What libraries that quantize made of a small matrix, and what they gave back of it: recorded once, for they are
large, and some want a GPU.

`python -m tests.support.recorded` writes it anew where they are installed (bitsandbytes, nvidia-modelopt).
"""

import json
from collections.abc import Iterator
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.support.exports.source import Tensors
from tests.support.paths import REPOSITORY

FILE = REPOSITORY / "tests" / "data" / "quantized.safetensors"
WANTED = "wanted"
FOUR_BITS = ("nf4", "fp4", "nf4 nested", "fp4 nested", "nf4 as bfloat16")


def recorded(case: str) -> Tensors:
    """Tensors of a case by the names they have in their module, and what the library makes of them: `wanted`."""
    return {key.partition("/")[2]: tensor for key, tensor in load_file(FILE).items() if key.partition("/")[0] == case}


def state_in(tensors: Tensors) -> tuple[str, bytes]:
    """The state of a weight in four bits of bitsandbytes: its name, and its JSON."""
    key = next(key for key in tensors if "quant_state" in key)
    return key, bytes(tensors[key].tolist())


def matrix() -> torch.Tensor:
    """2 x 192, one block of it nothing but zeros. Rows are whole blocks: of others bitsandbytes 0.50 on a CPU begins
    blocks anew with each row as it reads them, where as it writes them they run on.
    """
    made = torch.randn(2, 192, generator=torch.Generator().manual_seed(0)).bfloat16()
    made.view(-1)[64:128] = 0
    return made


def _of_bitsandbytes() -> Iterator[tuple[str, Tensors]]:
    from bitsandbytes import functional

    for case in FOUR_BITS:
        storage = torch.bfloat16 if case.endswith("bfloat16") else torch.uint8
        codes, state = functional.quantize_4bit(
            matrix(), quant_type=case[:3], compress_statistics="nested" in case, quant_storage=storage
        )
        given = functional.dequantize_4bit(codes.view(torch.uint8), state)
        parts = {f"weight.{name}": tensor for name, tensor in state.as_dict(packed=True).items()}
        yield case, {"weight": codes, **parts, WANTED: given}
    codes, maxima, _ = functional.int8_vectorwise_quant(matrix().half())
    yield "int8", {"weight": codes, "SCB": maxima, WANTED: functional.int8_vectorwise_dequant(codes, maxima)}


def _of_modelopt() -> Iterator[tuple[str, Tensors]]:
    from modelopt.torch.quantization.qtensor import FP8QTensor, NVFP4QTensor

    held: Any
    held, scale, above = NVFP4QTensor.quantize(matrix(), 16)
    given = held.dequantize(dtype=torch.bfloat16, scale=scale, double_scale=above, block_sizes={-1: 16})
    yield (
        "modelopt nvfp4",
        {"weight": held._quantized_data, "weight_scale": scale, "weight_scale_2": above, WANTED: given},
    )
    held, scale = FP8QTensor.quantize(matrix())
    given = held.dequantize(dtype=torch.bfloat16, scale=scale)
    yield "modelopt fp8", {"weight": held._quantized_data, "weight_scale": scale, WANTED: given}


def record() -> None:
    found = {
        f"{case}/{name}": tensor.contiguous().clone()
        for library in (_of_bitsandbytes, _of_modelopt)
        for case, tensors in library()
        for name, tensor in tensors.items()
    }
    save_file(found, FILE, metadata={"format": "pt", "cases": json.dumps(sorted({key.split("/")[0] for key in found}))})


if __name__ == "__main__":
    record()
