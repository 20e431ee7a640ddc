"""AutoRound's own configs over weights that lie as GPTQ's or AWQ's; symmetric ones may have scales below zero, by which
the larger end of a group takes the level that has no opposite.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.support.exports import awq, gptq

_VERSIONS = {"auto_round:auto_gptq": 1, "auto_round": 2, "auto_round:gptqmodel": 2}


def export(
    folder: Path, origin: Path | None = None, form: str = "auto_round:auto_gptq", symmetric: bool = False
) -> Path:  # fmt: skip
    """A checkpoint with every projection in 4 bits; `symmetric`: half of its scales turned round, and their levels."""
    if form.endswith("awq"):
        awq.export(folder, origin)
    else:
        gptq.export(folder, origin, symmetric=symmetric, version=_VERSIONS[form])
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "auto-round", "bits": 4, "group_size": 64, "data_type": "int", "sym": symmetric,
        "packing_format": form, "autoround_version": "0.16.1", "block_name_to_quantize": "model.layers",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {key: part for key, part in load_file(folder / "model.safetensors").items() if not key.endswith("g_idx")}
    for key in [key for key in tensors if key.endswith("scales") and symmetric]:
        _turn(tensors, key.removesuffix(".scales"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _turn(tensors: dict[str, torch.Tensor], module: str) -> None:
    """(level - 8) x scale is (16 - level - 8) x -scale; a level of 0, which has no opposite, becomes 15."""
    scales, words = tensors[f"{module}.scales"], tensors[f"{module}.qweight"]
    places = torch.arange(0, 32, 4).view(1, -1, 1)
    levels = ((words.long().unsqueeze(1) & 0xFFFFFFFF) >> places & 15).flatten(0, 1)
    half = scales.shape[1] // 2
    levels[:, :half] = (16 - levels[:, :half]).clamp(max=15)
    tensors[f"{module}.qweight"] = gptq.packed(levels.int(), 4)
    scales[:, :half] *= -1
