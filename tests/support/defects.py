"""Faults of quantized checkpoints, each planted in a sound export: what is done to its tensors and its config, and the
finding that must name it. Those after public reports say which; the fault is described, nothing of theirs is copied.
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


_PACKED = ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point")
_CT = "https://github.com/vllm-project/compressed-tensors/"
_VLLM = "https://github.com/vllm-project/vllm/"
_OPT = "https://github.com/NVIDIA/Model-Optimizer/"
_EXPERTS = "model.layers.1.mlp.experts"

DEFECTS: dict[str, Defect] = {
    "W4A16: a scale is gone": Defect(
        export="compressed W4A16", plant=drop(f"{Q}.weight_scale"), code="scale_missing", tensor=f"{Q}.weight_packed",
    ),
    "W4A16: scales that were never written": Defect(
        export="compressed W4A16", plant=whole(f"{DOWN}.weight_scale", float("nan")), code="scale_nonfinite",
        tensor=f"{DOWN}.weight_scale", report=f"{_CT}issues/832",
    ),
    "W4A16: one infinite scale": Defect(
        export="compressed W4A16", plant=fill(f"{Q}.weight_scale", float("inf")), code="scale_nonfinite",
        tensor=f"{Q}.weight_scale", report=f"{_CT}pull/854",
    ),
    "W4A16: one scale of zero": Defect(
        export="compressed W4A16", plant=fill(f"{Q}.weight_scale", 0.0), code="scale_zero", tensor=f"{Q}.weight_scale",
    ),
    "W4A16: one negative scale": Defect(
        export="compressed W4A16", plant=fill(f"{Q}.weight_scale", -0.1), code="scale_negative",
        tensor=f"{Q}.weight_scale",
    ),
    "W4A16: another group size than config.json says": Defect(
        export="compressed W4A16", plant=weights(group_size=64), code="scale_shape", tensor=f"{Q}.weight_scale",
    ),
    "W4A16: groups that do not divide": Defect(
        export="compressed W4A16", plant=weights(group_size=96), code="groups", tensor=f"{Q}.weight_packed",
        report=f"{_VLLM}issues/5675",
    ),
    "W4A16: packed at other bits than weight_shape says": Defect(
        export="compressed W4A16", plant=make(f"{Q}.weight_packed", lambda packed: packed[:, :-2]), code="packing",
        tensor=f"{Q}.weight_packed",
    ),
    "W4A16: the scale of a module that is not there": Defect(
        export="compressed W4A16",
        plant=make(f"{Q}.weight_scale", torch.clone, "model.layers.7.self_attn.q_proj.weight_scale"),
        code="scale_orphan", tensor="model.layers.7.self_attn.q_proj.weight_scale",
        report="https://github.com/vllm-project/llm-compressor/issues/959",
    ),
    "W4A16: a projection of the fused kernel left in 16 bits": Defect(
        export="compressed W4A16", plant=in_16_bits(Q, _PACKED), code="fused", tensor=f"{Q}.weight",
        report=f"{_VLLM}pull/11354",
    ),
    "W4A16: an unquantized module that is not ignored": Defect(
        export="compressed W4A16", plant=in_16_bits(DOWN, _PACKED), code="unquantized", tensor=f"{DOWN}.weight",
        report=f"{_VLLM}pull/47445",
    ),
    "W4A16: a quantized module that is ignored": Defect(
        export="compressed W4A16", plant=state(ignore=["lm_head", "re:.*layers.1.*down_proj"]), code="ignored",
        tensor=f"{DOWN}.weight_packed", report=f"{_VLLM}pull/51910",
    ),
    "W4A16: packed and in 16 bits": Defect(
        export="compressed W4A16", plant=make("lm_head.weight", lambda head: head[:128, :128], f"{Q}.weight"),
        code="duplicate", tensor=f"{Q}.weight", report=f"{_VLLM}pull/54230",
    ),
    "W4A16: no config says that it is quantized": Defect(
        export="compressed W4A16", plant=unstated, code="format", tensor="down_proj.weight_packed",
    ),
    "W4A16: declared as FP8": Defect(
        export="compressed W4A16", plant=lambda tensors, config: fp8_said(config), code="format",
        tensor=f"{Q}.weight_packed", report=f"{_VLLM}issues/16450",
    ),
    "W4A16 asymmetric: zero points are gone": Defect(
        export="compressed W4A16_ASYM", plant=drop(f"{Q}.weight_zero_point"), code="zero_point",
        tensor=f"{Q}.weight_packed",
    ),
    "W4A16 asymmetric: zero points of another shape": Defect(
        export="compressed W4A16_ASYM", plant=make(f"{Q}.weight_zero_point", lambda zeros: zeros[:-1]),
        code="zero_point", tensor=f"{Q}.weight_zero_point",
    ),
    "W4A8: codes beyond four bits": Defect(
        export="compressed W4A8", plant=as_bytes(f"{Q}.weight", 100), code="codes", tensor=f"{Q}.weight",
    ),
    "W8A8: a scale in whole numbers": Defect(
        export="compressed W8A8", plant=make(f"{Q}.weight_scale", lambda scale: scale.to(torch.int32)),
        code="scale_dtype", tensor=f"{Q}.weight_scale",
    ),
    "W8A8: a scale per tensor where rows have their own": Defect(
        export="compressed W8A8", plant=make(f"{Q}.weight_scale", lambda scale: scale[:1]), code="scale_shape",
        tensor=f"{Q}.weight_scale",
    ),
    "W8A8: a zero point of symmetric weights": Defect(
        export="compressed W8A8",
        plant=make(
            f"{Q}.weight_scale", lambda scale: torch.ones(scale.shape, dtype=torch.int8), f"{Q}.weight_zero_point"
        ),
        code="zero_point", tensor=f"{Q}.weight_zero_point",
    ),
    "FP8: the static scale of inputs is gone": Defect(
        export="compressed FP8", plant=drop(f"{DOWN}.input_scale"), code="input_scale_missing", tensor=f"{DOWN}.weight",
        report=f"{_VLLM}issues/45212",
    ),
    "FP8: an input scale of zero": Defect(
        export="compressed FP8", plant=whole(f"{DOWN}.input_scale", 0.0), code="scale_zero",
        tensor=f"{DOWN}.input_scale", report=f"{_VLLM}issues/45212",
    ),
    "FP8: a NaN among the codes": Defect(
        export="compressed FP8", plant=as_bytes(f"{UP}.weight", 0x7F), code="codes", tensor=f"{UP}.weight",
    ),
    "FP8: the weight is 16-bit, the scale lies beside it": Defect(
        export="compressed FP8", plant=make(f"{Q}.weight", lambda weight: weight.to(torch.bfloat16)),
        code="scale_orphan", tensor=f"{Q}.weight_scale", report=f"{_VLLM}pull/47445",
    ),
    "FP8: no tensor is quantized": Defect(
        export="plain", plant=lambda tensors, config: fp8_said(config), code="format", tensor="config.json",
    ),
    "KV: declared, and no scale lies there": Defect(
        export="compressed FP8 kv",
        plant=drop(*(f"model.layers.{n}.self_attn.{p}_scale" for n in (0, 1) for p in "kv")),
        code="kv_scale", tensor="layers.0.self_attn.k_scale", report=f"{_VLLM}issues/54623",
    ),
    "KV: one layer lacks its values' scale": Defect(
        export="compressed FP8 kv", plant=drop(f"{LAYER}.self_attn.v_scale"), code="kv_scale",
        tensor=f"{LAYER}.self_attn.v_scale",
    ),
    "KV: a scale that is NaN": Defect(
        export="compressed FP8 kv", plant=whole(f"{LAYER}.self_attn.k_scale", float("nan")), code="scale_nonfinite",
        tensor=f"{LAYER}.self_attn.k_scale",
    ),
    "NVFP4: one of three projections under another global scale": Defect(
        export="compressed NVFP4", plant=whole(f"{K}.weight_global_scale", 7.0), code="global_scale",
        tensor=f"{K}.weight_global_scale", report=f"{_VLLM}pull/18312",
    ),
    "NVFP4: the global scale is gone": Defect(
        export="compressed NVFP4", plant=drop(f"{K}.weight_global_scale"), code="scale_missing",
        tensor=f"{K}.weight_packed", report=f"{_VLLM}pull/45320",
    ),
    "NVFP4: the global scale of inputs is gone": Defect(
        export="compressed NVFP4", plant=drop(f"{UP}.input_global_scale"), code="input_scale_missing",
        tensor=f"{UP}.weight_packed", report=f"{_VLLM}pull/45320",
    ),
    "NVFP4: block scales in 16 bits": Defect(
        export="compressed NVFP4", plant=make(f"{Q}.weight_scale", lambda scale: scale.to(torch.bfloat16)),
        code="scale_dtype", tensor=f"{Q}.weight_scale",
    ),
    "NVFP4: half as many block scales": Defect(
        export="compressed NVFP4", plant=make(f"{Q}.weight_scale", lambda scale: scale[:, ::2]), code="scale_shape",
        tensor=f"{Q}.weight_scale", report=f"{_OPT}pull/2038",
    ),
    "NVFP4: a block scale that is NaN": Defect(
        export="compressed NVFP4", plant=as_bytes(f"{Q}.weight_scale", 0x7F), code="scale_nonfinite",
        tensor=f"{Q}.weight_scale",
    ),
    "MXFP4: an exponent of 255": Defect(
        export="compressed MXFP4", plant=as_bytes(f"{Q}.weight_scale", 255), code="scale_nonfinite",
        tensor=f"{Q}.weight_scale",
    ),
    "MXFP4: an exponent of 0 over weights that are not": Defect(
        export="compressed MXFP4", plant=as_bytes(f"{Q}.weight_scale", 0), code="scale_zero",
        tensor=f"{Q}.weight_scale",
    ),
    "experts NVFP4: gate and up of one under different global scales": Defect(
        export="compressed NVFP4 experts", plant=whole(f"{_EXPERTS}.3.up_proj.weight_global_scale", 3.0),
        code="global_scale", tensor=f"{_EXPERTS}.3.", report=f"{_VLLM}issues/54974",
    ),
    "experts NVFP4: one that calibration never reached": Defect(
        export="compressed NVFP4 experts", plant=drop(f"{_EXPERTS}.2.down_proj.input_global_scale"),
        code="input_scale_missing", tensor=f"{_EXPERTS}.2.down_proj.weight_packed", report=f"{_VLLM}issues/45212",
    ),
    "fp8 blocks: a scale is gone": Defect(
        export="fp8 block", plant=drop(f"{DOWN}.weight_scale_inv"), code="scale_missing", tensor=f"{DOWN}.weight",
    ),
    "fp8 blocks: a scale of other blocks": Defect(
        export="fp8 block", plant=make(f"{DOWN}.weight_scale_inv", lambda scale: scale[:, :1]), code="scale_shape",
        tensor=f"{DOWN}.weight_scale_inv",
    ),
    "fp8 blocks: declared static, and no input scale": Defect(
        export="fp8 block", plant=state(activation_scheme="static"), code="input_scale_missing", tensor=f"{Q}.weight",
    ),
    "GPTQ: zero points of the second version, said to be of the first": Defect(
        export="gptq 8 bits", plant=lambda tensors, config: _bumped(tensors), code="zero_point", tensor=f"{Q}.qzeros",
        report=f"{_VLLM}pull/38966",
    ),
    "GPTQ: an index beyond the groups": Defect(
        export="gptq act-order", plant=fill(f"{Q}.g_idx", 99), code="group_index", tensor=f"{Q}.g_idx",
    ),
    "GPTQ: reordered, and desc_act is false": Defect(
        export="gptq act-order", plant=state(desc_act=False), code="group_index", tensor=f"{Q}.g_idx",
    ),
    "GPTQ: the index is gone": Defect(
        export="gptq act-order", plant=drop(f"{Q}.g_idx"), code="group_index", tensor=f"{Q}.qweight",
    ),
    "GPTQ: scales that are NaN": Defect(
        export="gptq", plant=fill(f"{Q}.scales", float("nan")), code="scale_nonfinite", tensor=f"{Q}.scales",
    ),
    "GPTQ: other bits than config.json says": Defect(
        export="gptq", plant=state(bits=8), code="packing", tensor=f"{Q}.qweight",
    ),
    "AWQ: zero points are gone": Defect(
        export="awq", plant=drop(f"{Q}.qzeros"), code="zero_point", tensor=f"{Q}.qweight",
    ),
    "AWQ: scales of zero": Defect(
        export="awq", plant=whole(f"{Q}.scales", 0.0), code="scale_zero", tensor=f"{Q}.scales",
        report="https://github.com/InternLM/lmdeploy/issues/1786",
    ),
    "AWQ: said to be GPTQ": Defect(
        export="awq", plant=state(quant_method="gptq", desc_act=False), code="format", tensor=f"{Q}.qweight",
    ),
    "ModelOpt FP8: an input scale is gone": Defect(
        export="modelopt FP8", plant=drop(f"{UP}.input_scale"), code="input_scale_missing", tensor=f"{UP}.weight",
    ),
    "ModelOpt NVFP4: gate and up under different scales": Defect(
        export="modelopt NVFP4", plant=whole(f"{UP}.weight_scale_2", 3.0), code="global_scale",
        tensor=f"{LAYER}.mlp.", report=f"{_VLLM}issues/54974",
    ),
    "ModelOpt NVFP4: scales of packed bytes": Defect(
        export="modelopt NVFP4", plant=make(f"{Q}.weight_scale", lambda scale: scale[:, ::2]), code="scale_shape",
        tensor=f"{Q}.weight_scale", report=f"{_OPT}pull/2038",
    ),
    "gpt-oss MXFP4: scales are gone": Defect(
        export="mxfp4", plant=drop(f"{_EXPERTS}.down_proj_scales"), code="scale_missing",
        tensor=f"{_EXPERTS}.down_proj_blocks",
    ),
    "gpt-oss MXFP4: an exponent of 255": Defect(
        export="mxfp4", plant=as_bytes(f"{_EXPERTS}.down_proj_scales", 255), code="scale_nonfinite",
        tensor=f"{_EXPERTS}.down_proj_scales",
    ),
    "gpt-oss MXFP4: scales of fewer experts": Defect(
        export="mxfp4", plant=make(f"{_EXPERTS}.down_proj_scales", lambda scales: scales[:-1]), code="scale_shape",
        tensor=f"{_EXPERTS}.down_proj_scales",
    ),
    "ModelOpt FP8: a scale of weights that is NaN": Defect(
        export="modelopt FP8", plant=whole(f"{UP}.weight_scale", float("nan")), code="scale_nonfinite",
        tensor=f"{UP}.weight_scale",
    ),
    "ModelOpt FP8 KV: the scale of a layer's keys is gone": Defect(
        export="modelopt FP8 kv", plant=drop(f"{K}.k_scale"), code="kv_scale", tensor=f"{LAYER}.self_attn.k_scale",
        report=f"{_VLLM}issues/54623",
    ),
    "MXFP8: an exponent of 255": Defect(
        export="compressed MXFP8", plant=as_bytes(f"{Q}.weight_scale", 255), code="scale_nonfinite",
        tensor=f"{Q}.weight_scale",
    ),
    "mxfp8: an exponent of 255": Defect(
        export="mxfp8", plant=as_bytes(f"{DOWN}.weight_scale_inv", 255), code="scale_nonfinite",
        tensor=f"{DOWN}.weight_scale_inv",
    ),
    "mxfp8: scales of wider blocks": Defect(
        export="mxfp8", plant=make(f"{DOWN}.weight_scale_inv", lambda scale: scale[:, ::2]), code="scale_shape",
        tensor=f"{DOWN}.weight_scale_inv",
    ),
    "bitsandbytes NF4: the state of a module is gone": Defect(
        export="bitsandbytes NF4", plant=drop(f"{Q}.weight.quant_state.bitsandbytes__nf4"), code="scale_missing",
        tensor=f"{Q}.weight", report="https://github.com/unslothai/unsloth/issues/10276",
    ),
    "bitsandbytes NF4: maxima of blocks are gone": Defect(
        export="bitsandbytes NF4", plant=drop(f"{Q}.weight.absmax"), code="scale_missing", tensor=f"{Q}.weight",
    ),
    "bitsandbytes NF4: maxima of maxima are gone": Defect(
        export="bitsandbytes NF4", plant=drop(f"{DOWN}.weight.nested_absmax"), code="scale_missing",
        tensor=f"{DOWN}.weight.absmax",
    ),
    "bitsandbytes NF4: a maximum that is NaN": Defect(
        export="bitsandbytes NF4", plant=fill(f"{Q}.weight.nested_absmax", float("nan")), code="scale_nonfinite",
        tensor=f"{Q}.weight.nested_absmax",
    ),
    "bitsandbytes NF4: fewer codes than its state says": Defect(
        export="bitsandbytes NF4", plant=make(f"{Q}.weight", lambda codes: codes[:-64]), code="packing",
        tensor=f"{Q}.weight",
    ),
    "bitsandbytes NF4: a state that is none": Defect(
        export="bitsandbytes NF4", plant=as_bytes(f"{Q}.weight.quant_state.bitsandbytes__nf4", 0), code="packing",
        tensor=f"{Q}.weight.quant_state",
    ),
    "bitsandbytes NF4: a table of other levels": Defect(
        export="bitsandbytes NF4", plant=make(f"{Q}.weight.quant_map", lambda table: table[:-1]), code="scale_shape",
        tensor=f"{Q}.weight.quant_map",
    ),
    "bitsandbytes int8: the maxima of rows are gone": Defect(
        export="bitsandbytes 8 bits", plant=drop(f"{Q}.SCB"), code="scale_missing", tensor=f"{Q}.weight",
    ),
    "bitsandbytes int8: a maximum that is negative": Defect(
        export="bitsandbytes 8 bits", plant=fill(f"{Q}.SCB", -1.0), code="scale_negative", tensor=f"{Q}.SCB",
    ),
    "16 bits: the head is gone": Defect(
        export="plain", plant=drop("lm_head.weight"), code="head", tensor="lm_head.weight",
    ),
}  # fmt: skip


def fp8_said(config: dict[str, Any]) -> None:
    config["quantization_config"] = {"quant_method": "fp8", "activation_scheme": "dynamic"}


def _bumped(tensors: Tensors) -> None:
    """Zero points one more: of eight bits, 128 in the place of 127."""
    for key in [key for key in tensors if key.endswith("qzeros")]:
        tensors[key] = torch.full_like(tensors[key], -2139062144)
