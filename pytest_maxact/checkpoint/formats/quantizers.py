"""What rounding stands behind a weight in low bits: how it lies in its files in, the quantizer that rounds a source to
the nearest number of that form out.

It tells how near to its source a weight of that form can be expected to lie, whatever calibration chose its levels by;
zero points are left out, with which it would lie nearer.
"""

import re
from math import prod

from pytest_maxact.checkpoint.formats.packed import Packed, Packing
from pytest_maxact.numbers.schemes import Quantizer

_GGUF = re.compile(r"(?:I|T)?Q(\d)")
_GGUF_NEAR = ("Q2_K", "Q3_K", "Q6_K")
"""Whose scales are shared by 16 entries; those of the others by 32."""
_BLOCK = 128


def quantizer_of(packed: Packed, method: str) -> Quantizer | None:
    """None for a tensor that lies in 16 bits or more, as some of a GGUF file do."""
    dtypes = {name: part.dtype for name, part in packed.parts.items()}
    own = next(iter(dtypes.values()))
    if method == "gguf":
        return _of_gguf(own)
    if own.startswith("F8"):
        return _shared("fp8_e4m3", packed, "e8m0" if packed.group == 32 else "")
    if packed.bits == 4 and (own in ("U8", "F4") and method != "bitsandbytes"):
        return Quantizer(
            number="fp4_e2m1", granularity="group", group=packed.group, scale="e4m3" if packed.group == 16 else "e8m0"
        )
    return _shared(f"int{packed.bits}", packed)


def form_of(how: Quantizer | None, method: str) -> str:
    """As limits files name it: `gptq int4`."""
    return f"{method} {how.number}" if how else ""


def usual_form(packing: Packing) -> str:
    """Of most entries of an artifact, and of what they are multiplied with where it is served: `compressed-tensors int8
    with int8 inputs`.
    """
    entries: dict[str, int] = {}
    for packed in packing.packed.values():
        if form := form_of(quantizer_of(packed, packing.stated.method), packing.stated.method):
            entries[form] = entries.get(form, 0) + prod(packed.shape)
    usual = max(entries, key=lambda form: (entries[form], form), default="")
    inputs = packing.activations.partition(" ")[0]
    return f"{usual} with {inputs} inputs" if usual and inputs else usual


def _shared(number: str, packed: Packed, scale: str = "") -> Quantizer:
    """By how many entries share a scale: so many of a row, a block of rows and columns, a row, or all."""
    scales = next((part for name, part in packed.parts.items() if "scale" in name), None)
    shape = scales.shape if scales else ()
    rows = packed.shape[-2] if len(packed.shape) > 1 else 1
    if len(shape) == 2 and shape[0] != rows and shape[1] > 1 and number == "fp8_e4m3":
        return Quantizer(number=number, granularity="block", group=packed.group or _BLOCK)
    if packed.group:
        return Quantizer(number=number, granularity="group", group=packed.group, scale=scale)
    return Quantizer(number=number, granularity="tensor" if scales and prod(shape) == 1 else "row")


def _of_gguf(kind: str) -> Quantizer | None:
    if kind.startswith("MXFP4"):
        return Quantizer(number="fp4_e2m1", granularity="group", group=32, scale="e8m0")
    found = _GGUF.match(kind)
    if found is None:
        return None
    return Quantizer(number=f"int{max(2, int(found[1]))}", granularity="group", group=16 if kind in _GGUF_NEAR else 32)
