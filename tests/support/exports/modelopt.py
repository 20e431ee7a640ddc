"""ModelOpt's exports: FP8 with one scale for a tensor, NVFP4 with scales of groups below one for the tensor; what it is
stands in hf_quant_config.json, and from 0.35 on in config.json too.
"""

import json
from pathlib import Path
from typing import Any

import torch
from compressed_tensors.compressors.nvfp4.helpers import pack_fp4_to_uint8

from pytest_maxact.checkpoint.quantize import quantize
from pytest_maxact.numbers.schemes import Quantizer
from tests.support.exports.source import Tensors, fused_with, linears_of, source, tensors_of, written

REACH = 6.0
FP8_TOP, FP4_TOP = 448.0, 6.0


def export(
    folder: Path, algo: str = "FP8", origin: Path | None = None, kind: str = "qwen3", kv_cache: bool = False,
    reach: float = REACH, in_config: bool = False,
) -> Path:  # fmt: skip
    """A checkpoint in `FP8` or `NVFP4`; `kv_cache`: with scales of keys and values; `in_config`: said in config.json
    too.
    """
    origin = origin or source(folder.with_name(f"{folder.name}-source"), kind)
    dense = tensors_of(origin)
    matrices = dict(linears_of(dense))
    found: Tensors = dict(dense)
    for module, matrix in matrices.items():
        amax = torch.stack([matrices[name].abs().amax() for name in fused_with(module)]).amax().float()
        local = _fp8(matrix.float(), amax, reach) if algo == "FP8" else _nvfp4(matrix.float(), amax, reach)
        found.update({f"{module}.{name}": tensor for name, tensor in local.items()})
        if kv_cache and module.endswith(("k_proj", "v_proj")):
            found[f"{module}.{module[-6]}_scale"] = torch.tensor(0.02)
    routers = sorted(name.removesuffix(".weight") for name in dense if name.endswith("mlp.gate.weight"))
    stated: dict[str, Any] = {
        "quant_algo": algo,
        "kv_cache_quant_algo": "FP8" if kv_cache else None,
        "exclude_modules": ["lm_head", *routers],
        **({"group_size": 16} if algo == "NVFP4" else {}),
    }
    producer = {"name": "modelopt", "version": "0.35.0"}
    in_full = {"quant_method": "modelopt", "quant_algo": algo, "ignore": stated["exclude_modules"]}
    result = written(origin, folder, found, {**in_full, "producer": producer} if in_config else None)
    (folder / "hf_quant_config.json").write_text(json.dumps({"producer": producer, "quantization": stated}, indent=2))
    return result


def _fp8(matrix: torch.Tensor, amax: torch.Tensor, reach: float) -> Tensors:
    scale = amax / FP8_TOP
    levels = (matrix / scale).clamp(-FP8_TOP, FP8_TOP).to(torch.float8_e4m3fn)
    return {"weight": levels, "weight_scale": scale, "input_scale": torch.tensor(reach / FP8_TOP)}


def _nvfp4(matrix: torch.Tensor, amax: torch.Tensor, reach: float) -> Tensors:
    above = amax / (FP8_TOP * FP4_TOP)
    groups = matrix.unflatten(1, (-1, 16))
    scale = (groups.abs().amax(-1) / (FP4_TOP * above)).to(torch.float8_e4m3fn)
    scale = torch.where(scale.float() == 0, torch.ones_like(scale.float()), scale.float()).to(torch.float8_e4m3fn)
    inside = (groups / (scale.float() * above).unsqueeze(-1)).clamp(-FP4_TOP, FP4_TOP)
    levels = quantize(
        torch.cat([inside.flatten(1), torch.full((matrix.shape[0], 1), FP4_TOP)], 1),
        Quantizer(number="fp4_e2m1", granularity="row"),
    ).levels[:, :-1]
    return {
        "weight": pack_fp4_to_uint8(levels.contiguous()),
        "weight_scale": scale,
        "weight_scale_2": above,
        "input_scale": torch.tensor(reach / (FP8_TOP * FP4_TOP)),
    }
