"""Scales that multiply weights to what no training gives, and weights that do not lie about zero. Modules with their
forms in, findings out.

Guard: such scales are positive, finite, and of the right dtype and shape, so that nothing else tells them from others.
The bounds lie far from what trained matrices hold, for a sound one is not to be held up.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.checkpoint.lint.names import Module
from pytest_maxact.checkpoint.lint.pieces import SCALES, pieces
from pytest_maxact.checkpoint.lint.stated import Spec
from pytest_maxact.checkpoint.lint.tensors import ZERO_BITS, weight_of
from pytest_maxact.checkpoint.lint.values import FLOAT_DTYPES, Values
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import LintFault

LARGE, HOPELESS, FAINT = 1e3, 1e5, 1e-7
"""What most weights of a matrix do not reach, what none does, and what the largest is not below."""
_TOPS = {"fp8": 448.0, "mxfp8": 448.0, "nvfp4": 6.0, "mxfp4": 6.0, "mxfp4 blocks": 6.0, "bnb8": 1.0}
_HALF = {"F8_E4M3": 0x76, "F8_E5M2": 0x77, "F8_E4M3FNUZ": 0x77, "F8_E5M2FNUZ": 0x7B}
_HALF_FP4, _QUARTER_E4M3 = 5, 0x28
"""Bits of half of what a number format reaches, and of 0.25."""
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
    if ones and _is_full(module, form, own, values):
        what = "it is 1.0" if found.size == 1 else f"all of its {counted(found.size, 'entry')} are 1.0"
        yield fault("scale_one", header.key, f"{what}, over codes that were scaled")
        return
    top = _TOPS.get(form, float(1 << max(own.bits, 1) - 1))
    reach = found.largest * top * _above(module, values)
    if reach > HOPELESS or (reach > LARGE and _is_wide(module, form, header, reach / found.largest, values)):
        yield fault("reach", header.key, f"weights under it reach {reach:.3g}")
    elif reach < FAINT and form in ZERO_BITS and (values.raw(weight_of(module)) & np.uint8(ZERO_BITS[form])).any():
        yield fault("reach", header.key, f"the largest weight under it is {reach:.3g}")


def _above(module: Module, values: Values) -> float:
    """What the one scale above those of groups multiplies by: a divisor in compressed-tensors' form."""
    for part, divides in (("weight_global_scale", True), ("weight_scale_2", False)):
        header = module.parts.get(part)
        if header is None or header.dtype not in FLOAT_DTYPES:
            continue
        if (found := values.flaws(header)).smallest:
            return 1.0 / found.smallest if divides else found.largest
    return 1.0


def _is_full(module: Module, form: str, own: Spec, values: Values) -> bool:
    """Whether codes reach half of what their form does, as those that were scaled do, and those cast as they are, or
    of weights that are whole numbers, do not. Where codes cannot be told from their bytes, they are taken to.
    """
    weight = weight_of(module)
    some = values.raw(weight)
    if form in ("fp8", "mxfp8"):
        return int((some & np.uint8(0x7F)).max()) >= _HALF.get(weight.dtype, 0)
    if form in ("nvfp4", "mxfp4", "mxfp4 blocks"):
        return int(max((some & 7).max(), (some >> 4 & 7).max())) >= _HALF_FP4
    if form in ("int8", "bnb8"):
        return _spread(some.view(np.int8)) >= 1 << max(own.bits or 8, 1) - 1
    if own.bits == 8:
        return _spread(some) >= 1 << 7
    return own.bits != 4 or max(_spread(some & 15), _spread(some >> 4)) >= 1 << 3


def _spread(codes: npt.NDArray[Any]) -> int:
    return int(codes.max()) - int(codes.min())


def _is_wide(module: Module, form: str, header: Header, times: float, values: Values) -> bool:
    """Whether it is not one weight alone that is large, as in some sound matrix: most scales are, `times` of which a
    weight reaches, or codes under the only one are not next to nothing.
    """
    if len(scales := values.numbers(header)) > 1:
        return bool(np.median(scales) * times > LARGE / 10)
    weight = weight_of(module)
    some = pieces(values.raw(weight, here_and_there=True))
    if form == "int8":
        return bool(np.median(np.abs(some.view(np.int8).astype(np.int16))) >= 1)
    return form != "fp8" or weight.dtype != "F8_E4M3" or bool(np.median(some & 0x7F) >= _QUARTER_E4M3)


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
    return Centre(weight=weight, steps=_mean(pieces(values.raw(weight, here_and_there=True))) - zero)


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
