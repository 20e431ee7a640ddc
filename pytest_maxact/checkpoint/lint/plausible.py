"""Scales that multiply weights to what no training gives, and weights that do not lie about zero. Modules with their
forms in, findings out.

Guard: such scales are positive, finite, and of the right dtype and shape, so that nothing else tells them from others.
The bounds lie far from what trained matrices hold, for a sound one is not to be held up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.checkpoint.lint.names import Module
from pytest_maxact.checkpoint.lint.pieces import SCALES, blank, pieces
from pytest_maxact.checkpoint.lint.stated import Spec
from pytest_maxact.checkpoint.lint.tensors import weight_of
from pytest_maxact.checkpoint.lint.values import FLOAT_DTYPES, Values
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import LintFault

LARGE, FAINT = 1e3, 1e-7
_TOPS = {"fp8": 448.0, "mxfp8": 448.0, "nvfp4": 6.0, "mxfp4": 6.0, "mxfp4 blocks": 6.0, "bnb8": 1.0}
_SIGNED = {"fp8": 0x7F, "mxfp8": 0x7F, "int8": 0xFF, "nvfp4": 0x77, "mxfp4": 0x77, "mxfp4 blocks": 0x77, "bnb8": 0xFF}
"""Forms whose codes of zero are bytes of zero, but for signs: the bits that are not of signs."""
_FULL = 0x76
"""224 in E4M3: half of what it reaches, which the largest code of a quantized tensor does not stay below."""
_CENTRED = ("packed int", "gptq", "awq")
_APART, _FAR = 0.6, 2.0
"""By how many steps the mean of a module may lie from its zero points: where most do, and where it is alone."""


def scale_value_faults(module: Module, form: str, own: Spec, values: Values) -> Iterator[LintFault]:
    """Scales at the value that they were allocated with, and those that make of weights what no matrix has."""
    header = next((module.parts[part] for part in SCALES if part in module.parts), None)
    if header is None or not (header.dtype in FLOAT_DTYPES or header.dtype == "U8"):
        return
    found = values.flaws(header, exponents=header.dtype == "U8")
    if not found.largest:
        return
    ones = found.smallest == found.largest == 1.0 and not (found.nonfinite or found.negative)
    if ones and (found.size > 1 or _is_full(module, form, values)):
        what = "it is 1.0" if found.size == 1 else f"all of its {counted(found.size, 'entry')} are 1.0"
        yield fault("scale_one", header.key, f"{what}, over codes that were scaled")
        return
    top = _TOPS.get(form, float(1 << max(own.bits, 1) - 1))
    reach = found.largest * top * _above(module, values)
    if reach > LARGE:
        yield fault("reach", header.key, f"weights under it reach {reach:.3g}")
    elif reach < FAINT and form in _SIGNED and bool((values.raw(weight_of(module)) & np.uint8(_SIGNED[form])).any()):
        yield fault("reach", header.key, f"the largest weight under it is {reach:.3g}")


def hollow_faults(module: Module, values: Values) -> Iterator[LintFault]:
    """Of a matrix of a layer: tables of tokens, and heads, have rows that were never used."""
    weight = weight_of(module)
    if module.layer is not None and blank(values.raw(weight)):
        yield fault("hollow", weight.key, "an eighth of it or more is one code over and over, and the rest is not")


def _above(module: Module, values: Values) -> float:
    """What the one scale above those of groups multiplies by: a divisor in compressed-tensors' form."""
    for part, divides in (("weight_global_scale", True), ("weight_scale_2", False)):
        header = module.parts.get(part)
        if header is None or header.dtype not in FLOAT_DTYPES:
            continue
        if (found := values.flaws(header)).smallest:
            return 1.0 / found.smallest if divides else found.largest
    return 1.0


def _is_full(module: Module, form: str, values: Values) -> bool:
    """Whether codes under one scale use what their form reaches, as those that were scaled do."""
    weight = weight_of(module)
    if form == "int8":
        return True
    return form == "fp8" and weight.dtype == "F8_E4M3" and int((values.raw(weight) & np.uint8(0x7F)).max()) >= _FULL


@dataclass(frozen=True, slots=True, kw_only=True)
class Centre:
    """Of a module in four bits, by how many steps the mean of its codes lies from that of its zero points."""

    weight: Header
    steps: float


def centre_of(module: Module, form: str, own: Spec, values: Values) -> Centre | None:
    """None of another form; of codes in pieces that are spread over them."""
    weight = weight_of(module)
    if form not in _CENTRED or own.bits != 4 or weight.dtype not in ("I32", "U32"):
        return None
    zeros = module.parts.get("weight_zero_point" if form == "packed int" else "qzeros")
    if zeros is None or (form == "packed int" and own.symmetric):
        zero = 8.0
    elif zeros.dtype not in ("I32", "U32") or zeros.start == zeros.stop:
        return None
    else:
        zero = _mean(values.raw(zeros)) + (1.0 if form == "gptq" and own.version != 2 else 0.0)
    return Centre(weight=weight, steps=_mean(pieces(values.raw(weight))) - zero)


def _mean(raw: npt.NDArray[np.uint8]) -> float:
    """Of the integers of four bits in bytes."""
    return float((raw & 15).mean() + (raw >> 4).mean()) / 2 if raw.size else 0.0


def centre_faults(found: Sequence[Centre]) -> Iterator[LintFault]:
    """Where most modules are off, each that is; else one alone where it is far off."""
    off = [one for one in found if abs(one.steps) > _APART]
    most = 2 * len(off) > len(found)
    for one in off if most else [one for one in off if abs(one.steps) > _FAR]:
        others = f", as {counted(len(off), 'module')} of {len(found)} are" if most and len(off) > 1 else ""
        yield fault("centre", one.weight.key, f"its mean lies {one.steps:+.2f} steps from its zero points{others}")
