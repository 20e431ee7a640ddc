"""Findings of one tensor: scales, zero points, indices and codes."""

from collections.abc import Mapping

from pytest_maxact.numbers.lints.kind import AGAIN, LintKind, kind

OF_TENSORS: Mapping[str, LintKind] = {
    "scale_missing": kind(
        "scale", "a quantized tensor without its scale",
        "vLLM leaves the scale as it was allocated, or stops with KeyError: answers are noise",
        f"{AGAIN} with the scales of every module; see that calibration reached it",
        "vllm-project/vllm/pull/45320",
    ),
    "scale_nonfinite": kind(
        "scale", "a scale that is NaN or infinite",
        "vLLM, and llama.cpp without --check-tensors, load it without a word; every product of that group is NaN, and "
        "the model repeats one token",
        "quantize that module again: its scale was never written, or its weights are not finite",
        "vllm-project/compressed-tensors/issues/832",
    ),
    "scale_zero": kind(
        "scale", "a scale of zero over weights that are not zero",
        "the weights under it become zero, and what divides by it becomes infinite",
        "quantize that module again; clamp scales to the smallest number of their dtype",
        "vllm-project/vllm/issues/45212",
    ),
    "scale_negative": kind(
        "scale", "a negative scale",
        "vLLM multiplies by it, so the signs of that group are turned round",
        "quantize that module again; scales are magnitudes",
        "vllm-project/compressed-tensors/pull/854",
    ),
    "scale_shape": kind(
        "scale", "a scale whose shape is not the one of its weights and groups",
        "vLLM stops while loading, or broadcasts it over the wrong weights",
        f"{AGAIN}; see that group_size and strategy in config.json are those that were used",
        "NVIDIA/Model-Optimizer/pull/2038",
    ),
    "scale_dtype": kind(
        "scale", "a scale of a dtype that its format does not have",
        "vLLM casts it on loading, which loses it, or the kernel reads its bytes as another number",
        "save scales in the dtype of their format",
        "vllm-project/vllm/pull/35986",
    ),
    "scale_one": kind(
        "scale", "scales of weights that were left at 1.0",
        "vLLM multiplies codes by 1.0: weights come out hundreds of times too large",
        f"{AGAIN} with the scales that the codes were made with; 1.0 is what they are allocated with",
        "vllm-project/vllm/pull/5231",
    ),
    "reach": kind(
        "scale", "scales under which weights are larger, or smaller, than those of any trained matrix",
        "vLLM multiplies by what lies there, and answers are noise; mostly a scale was saved as its reciprocal",
        "save scales as their format has them: compressed-tensors divides by weight_global_scale, ModelOpt multiplies",
        "modular/modular/issues/6600",
    ),
    "copied": kind(
        "scale", "scales, codes or a whole module that are those of another layer to the bit",
        "vLLM serves them, and the layer computes something else",
        f"{AGAIN}; tensors that shared memory were saved as one",
        "neuralmagic/AutoFP8/issues/28",
    ),
    "centre": kind(
        "zero_point", "weights that do not lie about zero: their mean is off by half a step or more",
        "every weight is off by one step or more, so answers are noise",
        "say the convention in config.json (checkpoint_format), or quantize again; see that zero points were written",
        "vllm-project/vllm/pull/38966",
    ),
    "scale_orphan": kind(
        "scale", "a scale of a module that is not there, or whose weight is not quantized",
        "vLLM stops with KeyError, or reads 16-bit weights as if the scale were theirs",
        f"remove it, or {AGAIN} with the weight it belongs to",
        "vllm-project/llm-compressor/issues/959",
    ),
    "input_scale_missing": kind(
        "input_scale", "config.json calls for a static input scale that is not there",
        "vLLM keeps what was allocated for it (zeros, or anything), and divides by it: NaN for some prompts",
        "calibrate again with text that reaches the module, every expert of it too",
        "vllm-project/vllm/issues/45212",
    ),
    "zero_point": kind(
        "zero_point", "a zero point that is missing, out of range, or of another convention than config.json says",
        "every weight is off by one step or more, so answers are noise; kernels for symmetric weights do not read it",
        "say the convention in config.json (sym, checkpoint_format), or quantize again",
        "vllm-project/vllm/pull/38966",
    ),
    "group_index": kind(
        "group_index", "an index of groups (g_idx) that is missing, out of range, or not the one config.json says",
        "rows take the scales of other groups; vLLM reads it only where desc_act or actorder says so",
        f"set desc_act (actorder) as it was quantized, or {AGAIN}",
        "turboderp/exllama/issues/44",
    ),
    "packing": kind(
        "packing", "packed weights whose shape or codes are not those that their module and bits call for",
        "vLLM stops while loading with shapes that do not fit, or unpacks other numbers",
        f"{AGAIN}; see bits, pack order and weight_shape",
        "vllm-project/vllm/issues/11671",
    ),
    "groups": kind(
        "packing", "groups that do not divide the inputs of a module",
        "vLLM refuses the checkpoint: the input size is not aligned with the groups",
        "choose a group size that divides it, or leave the module in 16 bits and list it as ignored",
        "vllm-project/vllm/issues/5675",
    ),
    "codes": kind(
        "codes", "codes that are NaN, or beyond the bits that were declared",
        "each of them makes its row NaN, or a number that quantization cannot give",
        "quantize that module again from sound weights",
        "ggml-org/llama.cpp/pull/6884",
    ),
    "hollow": kind(
        "codes", "a stretch of codes that are all the same",
        "vLLM serves it: outputs of those rows are zero, or one number",
        "copy the file again, for it was not written to its end, or quantize that module again",
        "NVIDIA/nvidia-resiliency-ext/issues/349",
    ),
    "leftover": kind(
        "selection", "a tensor of a quantized module that its format does not have",
        "vLLM stops with KeyError, or leaves out what the weights beside it were scaled by",
        f"{AGAIN}, so that what was left of calibration or an adapter is fused into the weights or dropped",
        "NVIDIA/Model-Optimizer/pull/2038",
    ),
    "kv_scale": kind(
        "kv_scale", "a declared KV cache whose scales are missing, no numbers, or not as many as there are heads",
        "vLLM serves the cache at scale 1.0 with one warning in the log; at so many of another number it stops",
        "calibrate the KV cache again and save k_scale and v_scale of every layer",
        "vllm-project/vllm/issues/54623",
    ),
    "kv_scheme": kind(
        "kv_scale", "a kv_cache_scheme of compressed-tensors that is not FP8 by tensor or by head, symmetric",
        "vLLM keeps the cache in FP8 by these scales, whatever number they were made for, or stops with "
        "NotImplementedError",
        "calibrate for FP8 (num_bits 8, type float), or leave kv_cache_scheme out and set --kv-cache-dtype",
        "vllm-project/vllm/blob/main/vllm/model_executor/layers/quantization/compressed_tensors/compressed_tensors.py",
    ),
}  # fmt: skip
