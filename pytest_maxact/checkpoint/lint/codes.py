"""Whole numbers beside and in quantized weights: zero points, indices of groups, stated shapes and codes, held against
what a form allows. A module in, findings out.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.checkpoint.lint.forms import Matrix
from pytest_maxact.checkpoint.lint.names import Module
from pytest_maxact.checkpoint.lint.stated import Spec
from pytest_maxact.checkpoint.lint.tensors import by, weight_of
from pytest_maxact.checkpoint.lint.values import Values
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import LintFault

_INTEGERS = ("I8", "U8", "I16", "I32", "I64", "U32")
_MANY = 1 << 22


def packing_faults(module: Module, form: str, matrix: Matrix, spec: Spec, values: Values) -> Iterator[LintFault]:
    """Packed weights whose shape is not that of their matrix, and groups that do not divide it."""
    weight = weight_of(module)
    columns = matrix.columns
    stated = module.parts.get("weight_shape")
    if stated is not None and stated.dtype in ("I64", "I32") and stated.shape == (len(weight.shape),):
        shape = tuple(int(side) for side in values.whole(stated))
        packed = (*shape[:-1], -(-shape[-1] * spec.bits // 32))
        if packed != weight.shape:
            yield fault(
                "packing", weight.key,
                f"it is {by(weight.shape)}, and weight_shape {by(shape)} at {spec.bits} bits packs to {by(packed)}",
            )  # fmt: skip
        else:
            columns = shape[-1]
    if form in ("gptq", "awq"):
        yield from _against_scales(module, form, matrix, spec)
    if form == "mxfp4 blocks" and weight.shape[-1] != 16:
        yield fault("packing", weight.key, f"its blocks have {weight.shape[-1]} bytes, and 32 entries take 16")
    group = spec.group if spec.strategy == "group" else 0
    if group and columns % group and form != "mxfp4 blocks":
        yield fault("groups", weight.key, f"its {columns} inputs are no multiple of the group of {group}")


def _against_scales(module: Module, form: str, matrix: Matrix, spec: Spec) -> Iterator[LintFault]:
    """Bits that the packed tensor was not packed with: scales tell the width that packing does not."""
    scales, weight = module.parts.get("scales"), weight_of(module)
    if scales is None or len(scales.shape) != 2 or form != "gptq":
        return
    index = module.parts.get("g_idx")
    if index is not None and len(index.shape) == 1 and index.shape[0] != matrix.columns:
        yield fault(
            "packing", weight.key,
            f"it is {by(weight.shape)}, which at {spec.bits} bits is {matrix.columns} inputs, and g_idx has "
            f"{index.shape[0]}",
        )  # fmt: skip


def zero_point_faults(module: Module, form: str, matrix: Matrix, spec: Spec, values: Values) -> Iterator[LintFault]:
    """Zero points that are missing, not whole, of another shape, or beyond what the bits hold."""
    header = module.parts.get("weight_zero_point")
    weight = weight_of(module)
    if form in ("packed int", "int8"):
        if header is None:
            if spec.symmetric is False:
                yield fault("zero_point", weight.key, "config.json says asymmetric, and it has no weight_zero_point")
            return
        yield from _zero_points(header, form, matrix, spec, values)
    elif form in ("fp8", "nvfp4", "mxfp4", "mxfp8") and header is not None:
        if values.raw(header).any():
            yield fault("zero_point", header.key, "it is not zero, and floats are quantized around zero")
    elif form == "awq" and spec.symmetric and (zeros := module.parts.get("qzeros")) is not None:
        if (values.raw(zeros) != _packed(8, 4)).any():
            yield fault("zero_point", zeros.key, "not all of them are 8, and config.json says none (zero_point: false)")
    elif form == "gptq" and (zeros := module.parts.get("qzeros")) is not None and zeros.dtype in ("I32", "U32"):
        yield from _gptq_zeros(zeros, spec, values)


def _zero_points(header: Header, form: str, matrix: Matrix, spec: Spec, values: Values) -> Iterator[LintFault]:
    if header.dtype not in _INTEGERS:
        yield fault("zero_point", header.key, f"it is {header.dtype}, and zero points are whole numbers")
        return
    entries = values.whole(header).astype(np.int64)
    if form == "packed int" and header.dtype == "I32" and spec.symmetric is False:
        groups = matrix.columns // spec.group if spec.group else 1
        wanted = (*matrix.lead, -(-matrix.rows * spec.bits // 32), groups)
        if header.shape != wanted:
            yield fault("zero_point", header.key, f"it is {by(header.shape)}, and its module calls for {by(wanted)}")
        return
    half = 1 << (spec.bits - 1)
    beyond = int(np.count_nonzero((entries < -half) | (entries >= half)))
    if beyond:
        yield fault(
            "zero_point", header.key,
            f"{beyond} of {counted(entries.size, 'entry')} lie outside {-half} to {half - 1}: {spec.bits} bits",
        )  # fmt: skip
    elif spec.symmetric and entries.any():
        yield fault("zero_point", header.key, "it is not zero, and config.json says symmetric: runtimes drop it")


def _gptq_zeros(header: Header, spec: Spec, values: Values) -> Iterator[LintFault]:
    """Symmetric weights have one zero point: the middle, less one in the first version of the format."""
    if spec.symmetric is not True or spec.bits not in (2, 4, 8):
        return
    raw = values.raw(header)
    middle = 1 << (spec.bits - 1)
    wanted, other = (middle, middle - 1) if spec.version == 2 else (middle - 1, middle)
    found = {zero: _packed(zero, spec.bits) for zero in (wanted, other)}
    if (raw == found[wanted]).all():
        return
    if (raw == found[other]).all():
        version = "2 (gptq_v2)" if other == middle else "1"
        yield fault(
            "zero_point", header.key,
            f"all of them are {other}, as version {version} of the format stores them, and config.json says the other",
        )  # fmt: skip
    else:
        yield fault("zero_point", header.key, f"config.json says symmetric, and not all of them are {wanted}")


def _packed(zero: int, bits: int) -> int:
    """A byte of nothing but this zero point."""
    return sum(zero << place for place in range(0, 8, bits))


def index_faults(module: Module, form: str, matrix: Matrix, spec: Spec, values: Values) -> Iterator[LintFault]:
    """An index of groups that leaves them, or orders rows where config.json says that they are in order."""
    header = module.parts.get("g_idx") or module.parts.get("weight_g_idx")
    if header is None or header.dtype not in ("I32", "I64") or not header.shape:
        return
    index = values.whole(header)
    group = spec.group
    if not group or (index.size and (index == -1).all()):
        return
    groups = -(-matrix.columns // group)
    beyond = int(np.count_nonzero((index < 0) | (index >= groups)))
    if beyond:
        yield fault("group_index", header.key, f"{beyond} of {index.size} lie outside the {groups} groups")
        return
    if spec.reordered is False and not np.array_equal(index, np.arange(index.size) // group):
        yield fault(
            "group_index", header.key, "it reorders rows, and config.json says that they were not (desc_act, actorder)"
        )
    elif index.size == matrix.columns and int(np.bincount(index, minlength=groups).max()) > group:
        yield fault("group_index", header.key, f"a group of it has more than {group} rows")


def code_faults(module: Module, form: str, spec: Spec, values: Values) -> Iterator[LintFault]:
    """Codes that no quantizer gives: NaN of FP8, whole numbers beyond their bits."""
    weight = weight_of(module)
    raw = values.raw(weight)
    broken = 0
    for start in range(0, raw.size, _MANY):
        broken += _broken(raw[start : start + _MANY], weight.dtype, form, spec.bits)
    if broken:
        what = f"beyond {spec.bits} bits" if form == "int8" else "NaN or infinite"
        yield fault(
            "codes", weight.key, f"{broken} of {counted(raw.size, 'code')} {'is' if broken == 1 else 'are'} {what}"
        )


def has_codes(module: Module, form: str, spec: Spec) -> bool:
    """Whether any code of a module could be wrong."""
    return (form in ("fp8", "mxfp8") and weight_of(module).dtype.startswith("F8_E")) or (
        form == "int8" and 0 < spec.bits < 8
    )


def _broken(raw: npt.NDArray[np.uint8], dtype: str, form: str, bits: int) -> int:
    if form == "int8":
        half = 1 << (bits - 1)
        codes: npt.NDArray[Any] = raw.view(np.int8)
        return int(np.count_nonzero((codes < -half) | (codes >= half)))
    if dtype.endswith("FNUZ"):
        return int(np.count_nonzero(raw == 0x80))
    return int(np.count_nonzero((raw & np.uint8(0x7F)) >= np.uint8(0x7F if dtype == "F8_E4M3" else 0x7C)))
