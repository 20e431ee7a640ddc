"""Exports to be linted: each made once a session, and copies of them with a fault."""

import functools
import json
import shutil
from functools import partial
from pathlib import Path

from safetensors.torch import load_file, save_file

from tests.support import scratch
from tests.support.defects.planting import Defect, Plant
from tests.support.exports import auto_round, awq, compressed, fbgemm, gptq, modelopt, mxfp8
from tests.support.exports.every import EXPORTS, Export
from tests.support.exports.source import source

LINTED: dict[str, Export] = {
    **EXPORTS,
    "plain": source,
    "compressed FP8 kv": partial(compressed.export, preset="FP8", kv_cache=True),
    "compressed NVFP4 experts": partial(compressed.export, preset="NVFP4", kind="qwen3_moe"),
    "compressed W4A16 experts": partial(compressed.export, preset="W4A16", kind="qwen3_moe"),
    "modelopt FP8 kv": partial(modelopt.export, algo="FP8", kv_cache=True),
    "modelopt NVFP4 in config": partial(modelopt.export, algo="NVFP4", in_config=True),
    "modelopt FP8 experts": partial(modelopt.export, algo="FP8", kind="qwen3_moe"),
    "awq llama": partial(awq.export, kind="llama"),
    "gptq experts": partial(gptq.export, kind="qwen3_moe"),
    "mxfp8": mxfp8.export,
    "fbgemm": fbgemm.export,
    "auto-round": auto_round.export,
    "auto-round native": partial(auto_round.export, form="auto_round", symmetric=True),
    "auto-round as awq": partial(auto_round.export, form="auto_round:auto_awq"),
    "compressed FP8 llama": partial(compressed.export, preset="FP8_DYNAMIC", kind="llama"),
    "compressed W4A16 ignoring": partial(
        compressed.export, preset="W4A16", ignore=("model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj")
    ),
}


@functools.cache
def export(name: str) -> Path:
    """A sound export, made once."""
    return LINTED[name](scratch.folder("maxact-lint-") / "export")


def planted(folder: Path, defect: Defect) -> Path:
    """A copy of an export with a fault."""
    return changed(folder, defect.export, defect.plant)


def changed(folder: Path, name: str, plant: Plant) -> Path:
    shutil.copytree(export(name), folder)
    tensors = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    plant(tensors, config)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder
