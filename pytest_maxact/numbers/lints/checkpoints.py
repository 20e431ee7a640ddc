"""Findings of a checkpoint as a whole: which modules are quantized, what a kernel fuses, its config and its files."""

from collections.abc import Mapping

from pytest_maxact.numbers.lints.kind import LintKind, kind

OF_CHECKPOINTS: Mapping[str, LintKind] = {
    "ignored": kind(
        "selection", "a quantized tensor that config.json lists as ignored",
        "vLLM makes the module in 16 bits, and stops at, or drops, the packed tensor",
        "take it off the list, or ship its 16-bit weight",
        "vllm-project/vllm/pull/51910",
    ),
    "unquantized": kind(
        "selection", "a 16-bit tensor where config.json says that it is quantized",
        "vLLM copies 16-bit weights into low-bit parameters, or waits for scales that never come: noise or KeyError",
        "list the module as ignored, or quantize it",
        "vllm-project/vllm/pull/47445",
    ),
    "duplicate": kind(
        "selection", "a module both packed and in 16 bits",
        "which one is served depends on the order of files; vLLM stops at the one it has no parameter for",
        "remove one of the two",
        "vllm-project/vllm/pull/54230",
    ),
    "fused": kind(
        "fused", "projections that a kernel fuses, of which some are quantized, or otherwise than the others",
        "vLLM refuses it: all shards of a fused layer must have the same precision",
        "quantize all of them alike, or list all of them as ignored",
        "vllm-project/vllm/issues/25378",
    ),
    "global_scale": kind(
        "fused", "projections that a kernel fuses, with different global scales",
        "vLLM warns and takes one scale for all: the others are dequantized wrongly by the ratio of the two",
        "give them one scale (the largest amax of them), and quantize them again under it",
        "vllm-project/vllm/issues/54974",
    ),
    "format": kind(
        "format", "a format that config.json declares and the tensors are not, or the reverse",
        "vLLM builds the declared kernels, and stops at, or misreads, tensors of another kind",
        "make quantization_config say what the files hold, or export the checkpoint again",
        "ModelTC/LightCompress/issues/221",
    ),
    "method": kind(
        "format", "a method of quantization, or a layout of one, that is not known",
        "vLLM stops at a method that it does not know; of one that it knows, nothing here tells what it makes of it",
        "gate the checkpoint before it was quantized, or export it in a format that is read (docs/artifacts.md)",
        "vllm-project/vllm/tree/main/vllm/model_executor/layers/quantization",
    ),
    "index": kind(
        "index", "an index and files that disagree",
        "transformers loads what the index says, vLLM all that the files hold: tensors are left out, or overwritten",
        "write the index anew from the files, or finish the download",
        "vllm-project/vllm/pull/54230",
    ),
    "file": kind(
        "index", "a weight file that is missing, cut off or damaged",
        "runtimes stop, or leave the parameters of a missing file as they were allocated",
        "copy or download it again",
        "sgl-project/sglang/pull/32279",
    ),
    "head": kind(
        "index", "the head is missing, and config.json says that it is not the embedding",
        "vLLM serves a head that was never initialized; newer ones tie it to the embedding, with a warning",
        "save the head, or set tie_word_embeddings to true",
        "vllm-project/vllm/pull/51665",
    ),
}  # fmt: skip
