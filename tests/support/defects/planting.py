"""How a fault is planted in a sound export: what is done to its tensors and its config, and the finding that must name
it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Tensors = dict[str, torch.Tensor]
Plant = Callable[[Tensors, dict[str, Any]], None]
LAYER = "model.layers.1"
Q, K, DOWN, UP = (
    f"{LAYER}.{name}" for name in ("self_attn.q_proj", "self_attn.k_proj", "mlp.down_proj", "mlp.up_proj")
)
OTHER = "model.layers.0.mlp.down_proj"
EXPERTS = f"{LAYER}.mlp.experts"
COMPRESSED_TENSORS = "https://github.com/vllm-project/compressed-tensors/"
VLLM = "https://github.com/vllm-project/vllm/"
MODEL_OPTIMIZER = "https://github.com/NVIDIA/Model-Optimizer/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """`export`: which one it is planted in; `code` and `tensor` of the finding; `report`: the public one, if any."""

    export: str
    plant: Plant
    code: str
    tensor: str
    report: str = ""


def fill(key: str, value: float) -> Plant:
    """One entry of a tensor."""

    def plant(tensors: Tensors, config: dict[str, Any]) -> None:
        changed = tensors[key].to(torch.float32).flatten()
        changed[0] = value
        tensors[key] = changed.reshape(tensors[key].shape).to(tensors[key].dtype)

    return plant


def whole(key: str, value: float) -> Plant:
    """Every entry of a tensor."""

    def plant(tensors: Tensors, config: dict[str, Any]) -> None:
        tensors[key] = torch.full_like(tensors[key].to(torch.float32), value).to(tensors[key].dtype)

    return plant


def drop(*keys: str) -> Plant:
    def plant(tensors: Tensors, config: dict[str, Any]) -> None:
        for key in keys:
            del tensors[key]

    return plant


def make(key: str, how: Callable[[torch.Tensor], torch.Tensor], to: str | None = None) -> Plant:
    """What becomes of a tensor, in its own place or beside it."""

    def plant(tensors: Tensors, config: dict[str, Any]) -> None:
        tensors[to or key] = how(tensors[key]).clone().contiguous()

    return plant


def each(suffix: str, how: Callable[[torch.Tensor], torch.Tensor]) -> Plant:
    """What becomes of every tensor whose name ends so."""

    def plant(tensors: Tensors, config: dict[str, Any]) -> None:
        for key in [key for key in tensors if key.endswith(suffix)]:
            tensors[key] = how(tensors[key]).clone().contiguous()

    return plant


def taken(module: str, other: str, *parts: str) -> Plant:
    """Parts of one module as those of another."""

    def plant(tensors: Tensors, config: dict[str, Any]) -> None:
        for part in parts:
            tensors[f"{other}.{part}"] = tensors[f"{module}.{part}"].clone()

    return plant


def cut(codes: torch.Tensor) -> torch.Tensor:
    """Its second half as it was allocated."""
    raw = codes.contiguous().view(torch.uint8).clone()
    raw[raw.shape[0] // 2 :] = 0
    return raw.view(codes.dtype)


def cut_within(codes: torch.Tensor) -> torch.Tensor:
    """From the middle of a row on as it was allocated."""
    raw = codes.contiguous().view(torch.uint8).flatten().clone()
    raw[raw.numel() // 2 + codes.shape[1] // 2 :] = 0
    return raw.view(codes.dtype).view(codes.shape)


def state(**entries: Any) -> Plant:
    """Entries of quantization_config."""

    def plant(tensors: Tensors, config: dict[str, Any]) -> None:
        config["quantization_config"] |= entries

    return plant


def weights(**entries: Any) -> Plant:
    """Entries of the weights of the first group of compressed-tensors."""

    def plant(tensors: Tensors, config: dict[str, Any]) -> None:
        config["quantization_config"]["config_groups"]["group_0"]["weights"] |= entries

    return plant


def unstated(tensors: Tensors, config: dict[str, Any]) -> None:
    del config["quantization_config"]


def in_16_bits(module: str, suffixes: tuple[str, ...]) -> Plant:
    """A module as it was before it was quantized, of the right size."""

    def plant(tensors: Tensors, config: dict[str, Any]) -> None:
        for suffix in suffixes:
            tensors.pop(f"{module}.{suffix}", None)
        tensors[f"{module}.weight"] = torch.ones(128, 128, dtype=torch.bfloat16)

    return plant


def as_bytes(key: str, value: int) -> Plant:
    """The first byte of a tensor."""

    def plant(tensors: Tensors, config: dict[str, Any]) -> None:
        raw = tensors[key].contiguous().view(torch.uint8).clone()
        raw.view(-1)[0] = value
        tensors[key] = raw.view(tensors[key].dtype).reshape(tensors[key].shape)

    return plant


def said(**entries: Any) -> Plant:
    """All of quantization_config."""

    def plant(tensors: Tensors, config: dict[str, Any]) -> None:
        config["quantization_config"] = entries

    return plant


FP8_SAID = said(quant_method="fp8", activation_scheme="dynamic")
