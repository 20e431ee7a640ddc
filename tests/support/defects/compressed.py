"""Faults of exports of compressed-tensors."""

from typing import Any

import torch

from tests.support.defects.planting import (
    COMPRESSED_TENSORS,
    DOWN,
    EXPERTS,
    FP8_SAID,
    LAYER,
    MODEL_OPTIMIZER,
    OTHER,
    UP,
    VLLM,
    Defect,
    K,
    Plant,
    Q,
    Tensors,
    as_bytes,
    cut,
    cut_within,
    drop,
    each,
    fill,
    in_16_bits,
    make,
    state,
    taken,
    unstated,
    weights,
    whole,
)

PACKED = ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point")


def cached(**entries: Any) -> Plant:
    """Entries of kv_cache_scheme."""

    def plant(_: Tensors, config: dict[str, Any]) -> None:
        config["quantization_config"]["kv_cache_scheme"] |= entries

    return plant


def targets(*names: str) -> Plant:
    """The modules that the first group names."""

    def plant(tensors: Tensors, config: dict[str, Any]) -> None:
        config["quantization_config"]["config_groups"]["group_0"]["targets"] = list(names)

    return plant


DEFECTS: dict[str, Defect] = {
    "W4A16: a scale is gone": Defect(
        export="compressed W4A16", plant=drop(f"{Q}.weight_scale"), code="scale_missing", tensor=f"{Q}.weight_packed",
    ),
    "W4A16: scales that were never written": Defect(
        export="compressed W4A16", plant=whole(f"{DOWN}.weight_scale", float("nan")), code="scale_nonfinite",
        tensor=f"{DOWN}.weight_scale", report=f"{COMPRESSED_TENSORS}issues/832",
    ),
    "W4A16: one infinite scale": Defect(
        export="compressed W4A16", plant=fill(f"{Q}.weight_scale", float("inf")), code="scale_nonfinite",
        tensor=f"{Q}.weight_scale", report=f"{COMPRESSED_TENSORS}pull/854",
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
        report=f"{VLLM}issues/5675",
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
        export="compressed W4A16", plant=in_16_bits(Q, PACKED), code="fused", tensor=f"{Q}.weight",
        report=f"{VLLM}pull/11354",
    ),
    "W4A16: an unquantized module that is not ignored": Defect(
        export="compressed W4A16", plant=in_16_bits(DOWN, PACKED), code="unquantized", tensor=f"{DOWN}.weight",
        report=f"{VLLM}pull/47445",
    ),
    "W4A16: a quantized module that is ignored": Defect(
        export="compressed W4A16", plant=state(ignore=["lm_head", "re:.*layers.1.*down_proj"]), code="ignored",
        tensor=f"{DOWN}.weight_packed", report=f"{VLLM}pull/51910",
    ),
    "W4A16: packed and in 16 bits": Defect(
        export="compressed W4A16", plant=make("lm_head.weight", lambda head: head[:128, :128], f"{Q}.weight"),
        code="duplicate", tensor=f"{Q}.weight", report=f"{VLLM}pull/54230",
    ),
    "W4A16: no config says that it is quantized": Defect(
        export="compressed W4A16", plant=unstated, code="format", tensor="down_proj.weight_packed",
    ),
    "W4A16: declared as FP8": Defect(
        export="compressed W4A16", plant=FP8_SAID, code="format",
        tensor=f"{Q}.weight_packed", report=f"{VLLM}issues/16450",
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
        report=f"{VLLM}issues/45212",
    ),
    "FP8: an input scale of zero": Defect(
        export="compressed FP8", plant=whole(f"{DOWN}.input_scale", 0.0), code="scale_zero",
        tensor=f"{DOWN}.input_scale", report=f"{VLLM}issues/45212",
    ),
    "FP8: a NaN among the codes": Defect(
        export="compressed FP8", plant=as_bytes(f"{UP}.weight", 0x7F), code="codes", tensor=f"{UP}.weight",
    ),
    "FP8: the weight is 16-bit, the scale lies beside it": Defect(
        export="compressed FP8", plant=make(f"{Q}.weight", lambda weight: weight.to(torch.bfloat16)),
        code="scale_orphan", tensor=f"{Q}.weight_scale", report=f"{VLLM}pull/47445",
    ),
    "KV: declared, and no scale lies there": Defect(
        export="compressed FP8 kv",
        plant=drop(*(f"model.layers.{n}.self_attn.{p}_scale" for n in (0, 1) for p in "kv")),
        code="kv_scale", tensor="layers.0.self_attn.k_scale", report=f"{VLLM}issues/54623",
    ),
    "KV: one layer lacks its values' scale": Defect(
        export="compressed FP8 kv", plant=drop(f"{LAYER}.self_attn.v_scale"), code="kv_scale",
        tensor=f"{LAYER}.self_attn.v_scale",
    ),
    "KV: three scales of keys, which have two heads": Defect(
        export="compressed FP8 kv", plant=make(f"{LAYER}.self_attn.k_scale", lambda scale: scale.repeat(3)),
        code="kv_scale", tensor=f"{LAYER}.self_attn.k_scale",
    ),
    "KV: a scale a head, where one for the tensor is declared": Defect(
        export="compressed FP8 kv", plant=make(f"{LAYER}.self_attn.v_scale", lambda scale: scale.repeat(2)),
        code="kv_scale", tensor=f"{LAYER}.self_attn.v_scale",
    ),
    "KV: in four bits, which no runtime takes": Defect(
        export="compressed FP8 kv", plant=cached(num_bits=4), code="kv_scheme", tensor="config.json",
    ),
    "KV: in INT8, which is served as FP8": Defect(
        export="compressed FP8 kv", plant=cached(type="int"), code="kv_scheme", tensor="config.json",
    ),
    "KV: a scale a channel": Defect(
        export="compressed FP8 kv", plant=cached(strategy="channel"), code="kv_scheme", tensor="config.json",
    ),
    "KV: with a zero point": Defect(
        export="compressed FP8 kv", plant=cached(symmetric=False), code="kv_scheme", tensor="config.json",
    ),
    "KV: a scale that is NaN": Defect(
        export="compressed FP8 kv", plant=whole(f"{LAYER}.self_attn.k_scale", float("nan")), code="scale_nonfinite",
        tensor=f"{LAYER}.self_attn.k_scale",
    ),
    "NVFP4: one of three projections under another global scale": Defect(
        export="compressed NVFP4", plant=whole(f"{K}.weight_global_scale", 7.0), code="global_scale",
        tensor=f"{K}.weight_global_scale", report=f"{VLLM}pull/18312",
    ),
    "NVFP4: the global scale is gone": Defect(
        export="compressed NVFP4", plant=drop(f"{K}.weight_global_scale"), code="scale_missing",
        tensor=f"{K}.weight_packed", report=f"{VLLM}pull/45320",
    ),
    "NVFP4: the global scale of inputs is gone": Defect(
        export="compressed NVFP4", plant=drop(f"{UP}.input_global_scale"), code="input_scale_missing",
        tensor=f"{UP}.weight_packed", report=f"{VLLM}pull/45320",
    ),
    "NVFP4: block scales in 16 bits": Defect(
        export="compressed NVFP4", plant=make(f"{Q}.weight_scale", lambda scale: scale.to(torch.bfloat16)),
        code="scale_dtype", tensor=f"{Q}.weight_scale",
    ),
    "NVFP4: half as many block scales": Defect(
        export="compressed NVFP4", plant=make(f"{Q}.weight_scale", lambda scale: scale[:, ::2]), code="scale_shape",
        tensor=f"{Q}.weight_scale", report=f"{MODEL_OPTIMIZER}pull/2038",
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
        export="compressed NVFP4 experts", plant=whole(f"{EXPERTS}.3.up_proj.weight_global_scale", 3.0),
        code="global_scale", tensor=f"{EXPERTS}.3.", report=f"{VLLM}issues/54974",
    ),
    "experts NVFP4: one that calibration never reached": Defect(
        export="compressed NVFP4 experts", plant=drop(f"{EXPERTS}.2.down_proj.input_global_scale"),
        code="input_scale_missing", tensor=f"{EXPERTS}.2.down_proj.weight_packed", report=f"{VLLM}issues/45212",
    ),
    "MXFP8: an exponent of 255": Defect(
        export="compressed MXFP8", plant=as_bytes(f"{Q}.weight_scale", 255), code="scale_nonfinite",
        tensor=f"{Q}.weight_scale",
    ),
    "W4A16: scales of another layer": Defect(
        export="compressed W4A16", plant=taken(OTHER, DOWN, "weight_scale"), code="copied",
        tensor=f"{DOWN}.weight_scale", report="https://github.com/neuralmagic/AutoFP8/issues/28",
    ),
    "W4A16: codes of another layer": Defect(
        export="compressed W4A16", plant=taken(OTHER, DOWN, "weight_packed"), code="copied",
        tensor=f"{DOWN}.weight_packed",
    ),
    "W4A16: a module of another layer": Defect(
        export="compressed W4A16", plant=taken(OTHER, DOWN, "weight_packed", "weight_scale"), code="copied",
        tensor=f"{DOWN}.weight_packed",
    ),
    "W4A16: scales left at 1.0": Defect(
        export="compressed W4A16", plant=whole(f"{DOWN}.weight_scale", 1.0), code="scale_one",
        tensor=f"{DOWN}.weight_scale",
    ),
    "W4A16: codes that were not written to the end": Defect(
        export="compressed W4A16", plant=make(f"{DOWN}.weight_packed", cut), code="hollow",
        tensor=f"{DOWN}.weight_packed",
    ),
    "W8A8: rows of codes that were not written": Defect(
        export="compressed W8A8", plant=make(f"{DOWN}.weight", cut), code="hollow", tensor=f"{DOWN}.weight",
    ),
    "FP8 blocks: rows of codes that were not written": Defect(
        export="compressed FP8_BLOCK", plant=make(f"{DOWN}.weight", cut), code="hollow", tensor=f"{DOWN}.weight",
    ),
    "FP8: codes that were not written from the middle of a row": Defect(
        export="compressed FP8", plant=make(f"{DOWN}.weight", cut_within), code="hollow", tensor=f"{DOWN}.weight",
    ),
    "W4A16: ordered by activations, and no index": Defect(
        export="compressed W4A16", plant=weights(actorder="group"), code="group_index", tensor=f"{Q}.weight_packed",
    ),
    "W4A16: a quantized module that no group targets": Defect(
        export="compressed W4A16", plant=targets("re:.*self_attn.*", "re:.*(gate|up)_proj"), code="format",
        tensor=f"{DOWN}.weight_packed", report=f"{VLLM}issues/30969",
    ),
    "W4A16 asymmetric: zero points as they were allocated": Defect(
        export="compressed W4A16_ASYM", plant=whole(f"{DOWN}.weight_zero_point", 0), code="centre",
        tensor=f"{DOWN}.weight_packed",
    ),
    "W8A8: what smoothing divided by is left": Defect(
        export="compressed W8A8", plant=make(f"{Q}.weight_scale", torch.flatten, f"{Q}.smooth_scale"),
        code="leftover", tensor=f"{Q}.smooth_scale",
    ),
    "W8A8: an adapter is left": Defect(
        export="compressed W8A8", plant=make("lm_head.weight", lambda head: head[:8], f"{Q}.lora_A.weight"),
        code="leftover", tensor=f"{Q}.lora_A.weight",
    ),
    "FP8: codes in another FP8": Defect(
        export="compressed FP8", plant=make(f"{Q}.weight", lambda codes: codes.float().to(torch.float8_e5m2)),
        code="format", tensor=f"{Q}.weight",
    ),
    "FP8: scales saved as reciprocals": Defect(
        export="compressed FP8", plant=each("weight_scale", torch.reciprocal), code="reach",
        tensor=f"{DOWN}.weight_scale",
    ),
    "FP8: the scale of a tensor left at 1.0": Defect(
        export="compressed FP8", plant=whole(f"{DOWN}.weight_scale", 1.0), code="scale_one",
        tensor=f"{DOWN}.weight_scale",
    ),
    "FP8 blocks: scales left at 1.0": Defect(
        export="compressed FP8_BLOCK", plant=whole(f"{DOWN}.weight_scale", 1.0), code="scale_one",
        tensor=f"{DOWN}.weight_scale",
    ),
    "NVFP4: global scales that multiply, as of ModelOpt": Defect(
        export="compressed NVFP4", plant=each("weight_global_scale", torch.reciprocal), code="reach",
        tensor=f"{DOWN}.weight_scale", report="https://github.com/modular/modular/issues/6600",
    ),
    "MXFP4: exponents left at that of 1.0": Defect(
        export="compressed MXFP4", plant=whole(f"{DOWN}.weight_scale", 127), code="scale_one",
        tensor=f"{DOWN}.weight_scale",
    ),
}  # fmt: skip
