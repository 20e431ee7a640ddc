"""Findings that turn nothing red."""

from collections.abc import Mapping

from pytest_maxact.numbers.lints.kind import LintKind, kind

REMARKS: Mapping[str, LintKind] = {
    "kv_scale_one": kind(
        "kv_scale", "scales of the KV cache at 1.0",
        "vLLM warns that 1.0 is used, as it does where there is none",
        "calibrate the KV cache, unless 1.0 is what was meant",
        "vllm-project/vllm/pull/25968", remark=True,
    ),
    "kv_scale_undeclared": kind(
        "kv_scale", "scales of the KV cache that config.json does not call for",
        "vLLM reads them where it is started with --kv-cache-dtype fp8 or nvfp4, and else keeps the cache in 16 bits",
        "declare them in kv_cache_scheme, as static, or remove them",
        "vllm-project/vllm/blob/main/vllm/model_executor/layers/quantization/kv_cache.py", remark=True,
    ),
    "scale_far": kind(
        "scale", "scales of one tensor far from those of the same module in other layers",
        "none, if it is meant; else the layer is dequantized to other magnitudes",
        "compare that layer with its source",
        "flashinfer-ai/flashinfer/issues/2356", remark=True,
    ),
    "scale_unused": kind(
        "scale", "zero scales over weights that are all zero",
        "none: the weights are zero under any scale",
        "none is needed",
        "intel/auto-round/issues/1908", remark=True,
    ),
    "zero_rows": kind(
        "codes", "whole rows of a matrix that are zero",
        "none: those outputs, or inputs, are zero, as of a pruned or padded matrix",
        "none is needed, if the model was pruned or padded; else compare it with its source",
        "NVIDIA/nvidia-resiliency-ext/issues/349", remark=True,
    ),
    "twin": kind(
        "scale", "modules that are those of another layer or expert, as where layers are stacked twice or experts "
        "begin as copies of one",
        "none, if it is meant; else the layer or expert computes what another does",
        "compare it with its source",
        "neuralmagic/AutoFP8/issues/28", remark=True,
    ),
    "status": kind(
        "format", "codes in low bits where quantization_status does not say compressed",
        "none in vLLM, which does not read it; transformers takes codes for weights, without their scales: noise",
        "set quantization_status to compressed",
        "huggingface/transformers/pull/36921", remark=True,
    ),
    "experts_differ": kind(
        "fused", "experts of a layer, or projections read from one input, with different static input scales",
        "vLLM takes one for all of them and warns",
        "give all experts of a layer the largest",
        "NVIDIA/TensorRT-LLM/issues/10780", remark=True,
    ),
    "total_size": kind(
        "index", "an index whose total_size is not the size of its tensors",
        "none: runtimes do not read it; it tells that the index was made for other files",
        "write the index anew from the files",
        "huggingface/huggingface_hub/pull/4728", remark=True,
    ),
    "stray": kind(
        "index", "weight files that the index does not name",
        "vLLM leaves them out, other loaders take every *.safetensors of the folder",
        "move them elsewhere, if they are not the model's",
        "Blaizzy/mlx-vlm/pull/1464", remark=True,
    ),
    "apart": kind(
        "index", "a shard that was looked at without all others of its set",
        "runtimes stop, or leave the parameters of a missing file as they were allocated",
        "look at the set once it is whole",
        "sgl-project/sglang/pull/32279", remark=True,
    ),
    "unread": kind(
        "codes", "codes that were not read, for there are too many for a look",
        "a NaN among them is found by the gate, which reads every byte",
        "read them with --strict",
        "ggml-org/llama.cpp/pull/6884", remark=True,
    ),
}  # fmt: skip
