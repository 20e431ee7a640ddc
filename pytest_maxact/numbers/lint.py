"""What a look at the tensors of a quantized checkpoint can find, in a table: the finding, what a runtime makes of it,
how it is mended and where that is told; and what was found of one checkpoint, as plain data.

Guards that a finding is worded once: command, gate and documentation read the same lines.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pytest_maxact.numbers.checked import Count

LISTED = 64
"""How many findings of one kind are kept by name; all are counted."""
_HUB = "https://github.com/"


@dataclass(frozen=True, slots=True, kw_only=True)
class LintKind:
    """A kind of finding: the `metric` of its check, `means` in words, what a `runtime` makes of it, how to `mend` it,
    and the public `source` of what is said of the runtime. A `remark` turns nothing red.
    """

    metric: str
    means: str
    runtime: str
    mend: str
    source: str
    remark: bool = False


def _kind(metric: str, means: str, runtime: str, mend: str, source: str, *, remark: bool = False) -> LintKind:
    return LintKind(metric=metric, means=means, runtime=runtime, mend=mend, source=_HUB + source, remark=remark)


_AGAIN = "export the checkpoint again"
LINTS: Mapping[str, LintKind] = {
    "scale_missing": _kind(
        "scale", "a quantized tensor without its scale",
        "vLLM leaves the scale as it was allocated, or stops with KeyError: answers are noise",
        f"{_AGAIN} with the scales of every module; see that calibration reached it",
        "vllm-project/vllm/pull/45320",
    ),
    "scale_nonfinite": _kind(
        "scale", "a scale that is NaN or infinite",
        "vLLM loads it without a word; every product of that group is NaN and the model repeats one token",
        "quantize that module again: its scale was never written, or its weights are not finite",
        "vllm-project/compressed-tensors/issues/832",
    ),
    "scale_zero": _kind(
        "scale", "a scale of zero over weights that are not zero",
        "the weights under it become zero, and what divides by it becomes infinite",
        "quantize that module again; clamp scales to the smallest number of their dtype",
        "vllm-project/vllm/issues/45212",
    ),
    "scale_negative": _kind(
        "scale", "a negative scale",
        "vLLM multiplies by it, so the signs of that group are turned round",
        "quantize that module again; scales are magnitudes",
        "vllm-project/compressed-tensors/pull/854",
    ),
    "scale_shape": _kind(
        "scale", "a scale whose shape is not the one of its weights and groups",
        "vLLM stops while loading, or broadcasts it over the wrong weights",
        f"{_AGAIN}; see that group_size and strategy in config.json are those that were used",
        "NVIDIA/Model-Optimizer/pull/2038",
    ),
    "scale_dtype": _kind(
        "scale", "a scale of a dtype that its format does not have",
        "vLLM casts it on loading, which loses it, or the kernel reads its bytes as another number",
        "save scales in the dtype of their format",
        "vllm-project/vllm/pull/35986",
    ),
    "scale_orphan": _kind(
        "scale", "a scale of a module that is not there, or whose weight is not quantized",
        "vLLM stops with KeyError, or reads 16-bit weights as if the scale were theirs",
        f"remove it, or {_AGAIN} with the weight it belongs to",
        "vllm-project/llm-compressor/issues/959",
    ),
    "input_scale_missing": _kind(
        "input_scale", "config.json calls for a static input scale that is not there",
        "vLLM keeps what was allocated for it (zeros, or anything), and divides by it: NaN for some prompts",
        "calibrate again with text that reaches the module, every expert of it too",
        "vllm-project/vllm/issues/45212",
    ),
    "zero_point": _kind(
        "zero_point", "a zero point that is missing, out of range, or of another convention than config.json says",
        "every weight is off by one step or more, so answers are noise; kernels for symmetric weights do not read it",
        "say the convention in config.json (sym, checkpoint_format), or quantize again",
        "vllm-project/vllm/pull/38966",
    ),
    "group_index": _kind(
        "group_index", "an index of groups (g_idx) that is missing, out of range, or not the one config.json says",
        "rows take the scales of other groups; vLLM reads it only where desc_act or actorder says so",
        f"set desc_act (actorder) as it was quantized, or {_AGAIN}",
        "vllm-project/vllm/issues/7336",
    ),
    "packing": _kind(
        "packing", "packed weights whose shape or codes are not those that their module and bits call for",
        "vLLM stops while loading with shapes that do not fit, or unpacks other numbers",
        f"{_AGAIN}; see bits, pack order and weight_shape",
        "vllm-project/vllm/issues/11671",
    ),
    "groups": _kind(
        "packing", "groups that do not divide the inputs of a module",
        "vLLM refuses the checkpoint: the input size is not aligned with the groups",
        "choose a group size that divides it, or leave the module in 16 bits and list it as ignored",
        "vllm-project/vllm/issues/5675",
    ),
    "codes": _kind(
        "codes", "codes that are NaN, or beyond the bits that were declared",
        "each of them makes its row NaN, or a number that quantization cannot give",
        "quantize that module again from sound weights",
        "ggml-org/llama.cpp/pull/6884",
    ),
    "ignored": _kind(
        "selection", "a quantized tensor that config.json lists as ignored",
        "vLLM makes the module in 16 bits, and stops at, or drops, the packed tensor",
        "take it off the list, or ship its 16-bit weight",
        "vllm-project/vllm/pull/51910",
    ),
    "unquantized": _kind(
        "selection", "a 16-bit tensor where config.json says that it is quantized",
        "vLLM copies 16-bit weights into low-bit parameters, or waits for scales that never come: noise or KeyError",
        "list the module as ignored, or quantize it",
        "vllm-project/vllm/pull/47445",
    ),
    "duplicate": _kind(
        "selection", "a module both packed and in 16 bits",
        "which one is served depends on the order of files; vLLM stops at the one it has no parameter for",
        "remove one of the two",
        "vllm-project/vllm/pull/54230",
    ),
    "fused": _kind(
        "fused", "projections that a kernel fuses, of which some are quantized, or otherwise than the others",
        "vLLM refuses it: all shards of a fused layer must have the same precision",
        "quantize all of them alike, or list all of them as ignored",
        "vllm-project/vllm/issues/25378",
    ),
    "global_scale": _kind(
        "fused", "projections that a kernel fuses, with different global scales",
        "vLLM warns and takes one scale for all: the others are dequantized wrongly by the ratio of the two",
        "give them one scale (the largest amax of them), and quantize them again under it",
        "vllm-project/vllm/issues/54974",
    ),
    "format": _kind(
        "format", "a format that config.json declares and the tensors are not, or the reverse",
        "vLLM builds the declared kernels, and stops at, or misreads, tensors of another kind",
        "make quantization_config say what the files hold, or export the checkpoint again",
        "vllm-project/vllm/issues/16450",
    ),
    "kv_scale": _kind(
        "kv_scale", "a quantized KV cache is declared, and scales of keys or values are missing, or are none",
        "vLLM serves the cache at scale 1.0 with one warning in the log",
        "calibrate the KV cache again and save k_scale and v_scale of every layer",
        "vllm-project/vllm/issues/54623",
    ),
    "index": _kind(
        "index", "an index and files that disagree",
        "transformers loads what the index says, vLLM all that the files hold: tensors are left out, or overwritten",
        "write the index anew from the files, or finish the download",
        "vllm-project/vllm/pull/54230",
    ),
    "file": _kind(
        "index", "a weight file that is missing, cut off or damaged",
        "runtimes stop, or leave the parameters of a missing file as they were allocated",
        "copy or download it again",
        "sgl-project/sglang/pull/32279",
    ),
    "head": _kind(
        "index", "the head is missing, and config.json says that it is not the embedding",
        "vLLM stops, for lm_head was not initialized, or serves whatever was allocated",
        "save the head, or set tie_word_embeddings to true",
        "vllm-project/vllm/issues/16450",
    ),
    "kv_scale_one": _kind(
        "kv_scale", "scales of the KV cache at 1.0",
        "vLLM warns that 1.0 is used, as it does where there is none",
        "calibrate the KV cache, unless 1.0 is what was meant",
        "vllm-project/vllm/pull/25968", remark=True,
    ),
    "scale_far": _kind(
        "scale", "scales of one tensor far from those of the same module in other layers",
        "none, if it is meant; else the layer is dequantized to other magnitudes",
        "compare that layer with its source",
        "flashinfer-ai/flashinfer/issues/2356", remark=True,
    ),
    "scale_unused": _kind(
        "scale", "zero scales over weights that are all zero",
        "none: the weights are zero under any scale",
        "none is needed",
        "intel/auto-round/issues/1908", remark=True,
    ),
    "experts_differ": _kind(
        "fused", "experts of a layer, or projections read from one input, with different static input scales",
        "vLLM takes one for all of them and warns",
        "give all experts of a layer the largest",
        "NVIDIA/TensorRT-LLM/issues/10780", remark=True,
    ),
    "total_size": _kind(
        "index", "an index whose total_size is not the size of its tensors",
        "none: runtimes do not read it; it tells that the index was made for other files",
        "write the index anew from the files",
        "huggingface/huggingface_hub/pull/4728", remark=True,
    ),
    "stray": _kind(
        "index", "weight files that the index does not name",
        "vLLM leaves them out, other loaders take every *.safetensors of the folder",
        "move them elsewhere, if they are not the model's",
        "Blaizzy/mlx-vlm/pull/1464", remark=True,
    ),
    "unread": _kind(
        "codes", "codes that were not read, for there are too many for a look",
        "a NaN among them is found by the gate, which reads every byte",
        "read them with --strict",
        "ggml-org/llama.cpp/pull/6884", remark=True,
    ),
}  # fmt: skip
"""By the code of a finding."""
LINT_METRICS = tuple(dict.fromkeys(kind.metric for kind in LINTS.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFault:
    """A finding: its `code` in LINTS, the `tensor` (or file) by its name, with layer and expert where it has one, and
    in words `what` is wrong.
    """

    code: str
    tensor: str
    what: str
    layer: Count | None = None
    expert: Count | None = None

    @property
    def kind(self) -> LintKind:
        return LINTS[self.code]

    @property
    def where(self) -> str:
        parts = [f"layer {self.layer}"] if self.layer is not None else []
        return ", ".join([*parts, *([f"expert {self.expert}"] if self.expert is not None else [])])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lint:
    """What was found of a checkpoint: the `form` it is in, in words, how many tensors, and `modules` with weights in
    low bits; the findings, of each kind the first LISTED, and how many there are of each, by code.
    """

    form: str
    tensors: Count
    modules: Count
    faults: tuple[LintFault, ...] = ()
    counts: Mapping[str, Count] = field(default_factory=dict)

    @property
    def red(self) -> int:
        """How many findings are no remarks."""
        return sum(count for code, count in self.counts.items() if not LINTS[code].remark)

    def by_kind(self, *, remarks: bool) -> dict[str, list[LintFault]]:
        """Findings, or remarks, by code, in the order of the table."""
        found: dict[str, list[LintFault]] = {code: [] for code, kind in LINTS.items() if kind.remark == remarks}
        for fault in self.faults:
            if fault.code in found:
                found[fault.code].append(fault)
        return {code: faults for code, faults in found.items() if faults}


def lint_of(form: str, tensors: int, modules: int, faults: Iterable[LintFault]) -> Lint:
    """The same finding twice counts once; of many of a kind the first are kept."""
    counts: Counter[str] = Counter()
    kept = []
    for fault in dict.fromkeys(faults):
        counts[fault.code] += 1
        if counts[fault.code] <= LISTED:
            kept.append(fault)
    return Lint(form=form, tensors=tensors, modules=modules, faults=tuple(kept), counts=dict(counts))
