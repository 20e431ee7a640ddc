"""Checkpoints whose weights lie in low bits, written as quantizers write them, and configs that say so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]
FP8: dict[str, Any] = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3"}


def restated(folder: Path, **entries: Any) -> Path:
    """The folder, its config.json with these entries."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))
    return folder


def rewritten(folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """The folder, its one weight file with other tensors."""
    tensors = change(load_file(folder / "model.safetensors"))
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    return folder


def in_fp8(folder: Path, block: int = 32) -> Path:
    """Every projection in E4M3 with a scale for each block, as DeepSeek and Qwen publish them."""

    def change(tensors: Tensors) -> Tensors:
        found: Tensors = {}
        for name, tensor in tensors.items():
            if not name.endswith("proj.weight"):
                found[name] = tensor
                continue
            rows, columns = (size // block for size in tensor.shape)
            blocks = tensor.float().reshape(rows, block, columns, block)
            scale = blocks.abs().amax((1, 3)).clamp(min=1e-6) / 448
            found[name] = (blocks / scale[:, None, :, None]).reshape(tensor.shape).to(torch.float8_e4m3fn)
            found[f"{name}_scale_inv"] = scale
        return found

    return restated(rewritten(folder, change), quantization_config={**FP8, "weight_block_size": [block, block]})


def packed(folder: Path, weight: str = "qweight", dtype: torch.dtype = torch.int32) -> Path:
    """Every projection as integers under another name with scales beside it, as GPTQ, AWQ and others keep them."""

    def change(tensors: Tensors) -> Tensors:
        found: Tensors = {}
        for name, tensor in tensors.items():
            if not name.endswith("proj.weight"):
                found[name] = tensor
                continue
            module = name.removesuffix("weight")
            found[f"{module}{weight}"] = torch.zeros(tensor.shape[1] // 8, tensor.shape[0], dtype=dtype)
            found[f"{module}scales"] = torch.ones(1, tensor.shape[0], dtype=torch.float16)
        return found

    return rewritten(folder, change)


def in_mxfp4(folder: Path) -> Path:
    """The stacked experts of a GPT-OSS in MXFP4, as it is published."""

    def change(tensors: Tensors) -> Tensors:
        found: Tensors = {}
        for name, tensor in tensors.items():
            if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
                experts, width, out = tensor.shape
                generator = torch.Generator().manual_seed(len(found))
                codes = torch.randint(0, 256, (experts, out, width // 32, 16), generator=generator)
                found[f"{name}_blocks"] = codes.to(torch.uint8)
                found[f"{name}_scales"] = torch.full((experts, out, width // 32), 122, dtype=torch.uint8)
            else:
                found[name] = tensor
        return found

    return restated(rewritten(folder, change), quantization_config={"quant_method": "mxfp4"})
