"""The source of an export, a tiny checkpoint in bfloat16, and how an export is written beside its config.

Every width is a multiple of 128, so that groups and blocks of any format divide it: 256, 384 in the feed-forward block,
128 in attention and in an expert.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from pytest_maxact.checkpoint.locate import locate, with_weights
from pytest_maxact.checkpoint.weights.restored import tensors_of as opened
from pytest_maxact.settings.settings import Settings
from tests.support import tiny

Tensors = dict[str, torch.Tensor]
KINDS = ("qwen3", "llama", "qwen3_moe")
_SIZES: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "moe_intermediate_size": 128,
    "num_experts": 4,
    "tie_word_embeddings": False,
}
FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Projections that runtimes put together to one matrix."""


def source(folder: Path, kind: str = "qwen3", seed: int = 0, **overrides: Any) -> Path:
    """A checkpoint of random weights in bfloat16, with a tokenizer of words."""
    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_config(tiny.config_of(kind, **{**_SIZES, **overrides}), dtype=torch.bfloat16)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0.0, 0.15)
    return tiny.save(folder, model)


def tensors_of(folder: Path) -> Tensors:
    """All tensors of a checkpoint's weight files."""
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def linears_of(tensors: Tensors) -> Iterator[tuple[str, torch.Tensor]]:
    """Modules that quantizers quantize, with their matrices: every projection, never head, router or embedding."""
    for name, tensor in tensors.items():
        if name.endswith("_proj.weight"):
            yield name.removesuffix(".weight"), tensor


def fused_with(module: str) -> tuple[str, ...]:
    """The modules that become one matrix with this one, itself among them."""
    parent, _, own = module.rpartition(".")
    names = next((group for group in FUSED if own in group), (own,))
    return tuple(f"{parent}.{name}" for name in names)


def written(origin: Path, folder: Path, tensors: Tensors, stated: dict[str, Any] | None) -> Path:
    """The export: config and tokenizer of its source, `stated` as quantization_config, and one weight file."""
    shutil.copytree(origin, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    config = json.loads((folder / "config.json").read_text())
    if stated is not None:
        config["quantization_config"] = stated
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    plain = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    save_file(plain, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def restored(folder: Path) -> Tensors:
    """Every tensor of an export in 16 bits, by the name that its source has for it, as the gate loads it."""
    settings = Settings(model=str(folder))
    with opened(with_weights(locate(settings), settings)) as tensors:
        return {name: tensor[...] for name, tensor in tensors.items()}
