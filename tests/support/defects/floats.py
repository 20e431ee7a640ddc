"""Faults of exports in FP8 by blocks, MXFP8, MXFP4 of gpt-oss, and of ModelOpt's in FP8 and NVFP4."""

import torch

from tests.support.defects.planting import (
    DOWN,
    EXPERTS,
    LAYER,
    MODEL_OPTIMIZER,
    UP,
    VLLM,
    Defect,
    K,
    Q,
    as_bytes,
    cut,
    drop,
    each,
    make,
    state,
    whole,
)

DEFECTS: dict[str, Defect] = {
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
    "ModelOpt FP8: an input scale is gone": Defect(
        export="modelopt FP8", plant=drop(f"{UP}.input_scale"), code="input_scale_missing", tensor=f"{UP}.weight",
    ),
    "ModelOpt NVFP4: gate and up under different scales": Defect(
        export="modelopt NVFP4", plant=whole(f"{UP}.weight_scale_2", 3.0), code="global_scale",
        tensor=f"{LAYER}.mlp.", report=f"{VLLM}issues/54974",
    ),
    "ModelOpt NVFP4: scales of packed bytes": Defect(
        export="modelopt NVFP4", plant=make(f"{Q}.weight_scale", lambda scale: scale[:, ::2]), code="scale_shape",
        tensor=f"{Q}.weight_scale", report=f"{MODEL_OPTIMIZER}pull/2038",
    ),
    "gpt-oss MXFP4: scales are gone": Defect(
        export="mxfp4", plant=drop(f"{EXPERTS}.down_proj_scales"), code="scale_missing",
        tensor=f"{EXPERTS}.down_proj_blocks",
    ),
    "gpt-oss MXFP4: an exponent of 255": Defect(
        export="mxfp4", plant=as_bytes(f"{EXPERTS}.down_proj_scales", 255), code="scale_nonfinite",
        tensor=f"{EXPERTS}.down_proj_scales",
    ),
    "gpt-oss MXFP4: scales of fewer experts": Defect(
        export="mxfp4", plant=make(f"{EXPERTS}.down_proj_scales", lambda scales: scales[:-1]), code="scale_shape",
        tensor=f"{EXPERTS}.down_proj_scales",
    ),
    "ModelOpt FP8: a scale of weights that is NaN": Defect(
        export="modelopt FP8", plant=whole(f"{UP}.weight_scale", float("nan")), code="scale_nonfinite",
        tensor=f"{UP}.weight_scale",
    ),
    "ModelOpt FP8 KV: the scale of a layer's keys is gone": Defect(
        export="modelopt FP8 kv", plant=drop(f"{K}.k_scale"), code="kv_scale", tensor=f"{LAYER}.self_attn.k_scale",
        report=f"{VLLM}issues/54623",
    ),
    "mxfp8: an exponent of 255": Defect(
        export="mxfp8", plant=as_bytes(f"{DOWN}.weight_scale_inv", 255), code="scale_nonfinite",
        tensor=f"{DOWN}.weight_scale_inv",
    ),
    "mxfp8: scales of wider blocks": Defect(
        export="mxfp8", plant=make(f"{DOWN}.weight_scale_inv", lambda scale: scale[:, ::2]), code="scale_shape",
        tensor=f"{DOWN}.weight_scale_inv",
    ),
    "fp8 blocks: scales that are no inverses": Defect(
        export="fp8 block", plant=each("weight_scale_inv", torch.reciprocal), code="reach",
        tensor=f"{DOWN}.weight_scale_inv",
    ),
    "fp8 blocks: scales left at 1.0": Defect(
        export="fp8 block", plant=whole(f"{DOWN}.weight_scale_inv", 1.0), code="scale_one",
        tensor=f"{DOWN}.weight_scale_inv",
    ),
    "fp8 blocks: said to be another FP8": Defect(
        export="fp8 block", plant=state(fmt="e5m2"), code="format", tensor=f"{Q}.weight",
    ),
    "fp8 blocks: codes that were not written to the end": Defect(
        export="fp8 block", plant=make(f"{DOWN}.weight", cut), code="hollow", tensor=f"{DOWN}.weight",
    ),
    "ModelOpt NVFP4: global scales that divide, as of compressed-tensors": Defect(
        export="modelopt NVFP4", plant=each("weight_scale_2", torch.reciprocal), code="reach",
        tensor=f"{DOWN}.weight_scale", report="https://github.com/modular/modular/issues/6600",
    ),
    "ModelOpt NVFP4: a global scale left at 1.0": Defect(
        export="modelopt NVFP4", plant=whole(f"{DOWN}.weight_scale_2", 1.0), code="reach",
        tensor=f"{DOWN}.weight_scale",
    ),
    "ModelOpt FP8: what AWQ multiplies inputs by is left": Defect(
        export="modelopt FP8", plant=make("model.norm.weight", torch.clone, f"{Q}.pre_quant_scale"), code="leftover",
        tensor=f"{Q}.pre_quant_scale",
    ),
    "ModelOpt FP8: a buffer of calibration is left": Defect(
        export="modelopt FP8", plant=make("model.norm.weight", torch.clone, f"{Q}.input_quantizer._amax"),
        code="leftover", tensor=f"{Q}.input_quantizer._amax", report=f"{MODEL_OPTIMIZER}pull/2038",
    ),
}  # fmt: skip
