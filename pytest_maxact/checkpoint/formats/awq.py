"""AWQ, as AutoAWQ writes it (`gemm`) and vLLM reads it: `qweight` and `qzeros` packed along outputs in an order of
their own, `scales` of groups of inputs.

A reader of our own: its library needs a GPU.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_maxact.checkpoint.formats.packed import Held, Packed, lacking, required
from pytest_maxact.checkpoint.formats.part import Part, Tensors
from pytest_maxact.checkpoint.formats.stated import Quantization
from pytest_maxact.checkpoint.formats.words import AWQ_ORDER, along
from pytest_maxact.errors import InputError

NAMES = ("awq",)
_BITS = 4


def packed(stated: Quantization, held: Held) -> Iterator[Packed]:
    """Every weight that lies in words."""
    said = stated.entries
    bits, version = said.get("bits", said.get("w_bit", _BITS)), str(said.get("version") or "gemm").lower()
    if bits != _BITS or version != "gemm":
        raise InputError(
            f"{stated.where}: {bits} bits as {version} is not read, of AWQ in 4 bits and its layout gemm\n"
            "  export the checkpoint so"
        )
    for name, module in held.modules.items():
        if "qweight" in module:
            yield _weight(name, module, stated)


def _weight(name: str, module: Mapping[str, Part], stated: Quantization) -> Packed:
    symmetric = stated.entries.get("zero_point") is False and "qzeros" not in module
    wanted = ("qweight", "scales") if symmetric else ("qweight", "qzeros", "scales")
    parts = required(module, wanted, "qweight", stated)
    weight, scales = parts["qweight"], parts["scales"]
    if weight.dtype not in ("I32", "U32") or len(weight.shape) != 2 or len(scales.shape) != 2:
        raise lacking(weight, f"{list(weight.shape)} beside scales {list(scales.shape)}: no weight of AWQ")
    width, out, groups = weight.shape[0], weight.shape[1] * 32 // _BITS, scales.shape[0]
    zeros = parts["qzeros"].shape if "qzeros" in parts else (groups, weight.shape[1])
    if scales.shape[1] != out or zeros != (groups, weight.shape[1]) or width % groups:
        raise lacking(
            weight, f"its scales are {list(scales.shape)} and its zero points {list(zeros)}, for a weight of "
            f"{out} x {width}",
        )  # fmt: skip
    return Packed(
        key=f"{name}.weight",
        shape=(out, width),
        parts=parts,
        restore=_restored,
        bits=_BITS,
        group=width // groups if groups > 1 else 0,
        dtype="F16" if scales.dtype == "F16" else "BF16",
    )


def _restored(parts: Tensors) -> Any:
    """(level - zero) x scale in the dtype of the scales, [out, in]."""
    levels, scales = along(parts["qweight"], _BITS, AWQ_ORDER), parts["scales"]
    size = levels.shape[0] // scales.shape[0]
    zeros = along(parts["qzeros"], _BITS, AWQ_ORDER).repeat_interleave(size, 0) if "qzeros" in parts else 1 << 3
    return ((levels - zeros).to(scales.dtype) * scales.repeat_interleave(size, 0)).t().contiguous()
