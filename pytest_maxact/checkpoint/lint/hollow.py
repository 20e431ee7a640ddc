"""Stretches of one code over and over: rows of zeros, as pruning and padding leave them, told from codes that were
lost. A module in, findings out.

Guard: rows of zeros are no fault only where they are whole, hold the code of zero, and lie under scales that are all
alike, as a quantizer gives rows of zeros. Scales that differ were computed from weights that are not there.
"""

from collections.abc import Iterator
from math import prod

import numpy as np

from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.checkpoint.lint.names import Module
from pytest_maxact.checkpoint.lint.pieces import SCALES, stretches
from pytest_maxact.checkpoint.lint.stated import Spec
from pytest_maxact.checkpoint.lint.tensors import ZERO_BITS, weight_of
from pytest_maxact.checkpoint.lint.values import FLOAT_DTYPES, Values
from pytest_maxact.numbers.lint import LintFault

_STRAY = 16
"""Bytes of zeros before or after whole rows of them, that the rows beside them have by chance."""


def hollow_faults(module: Module, form: str, own: Spec, values: Values) -> Iterator[LintFault]:
    """Of a matrix of a layer: tables of tokens, and heads, have rows that were never used."""
    if module.layer is None:
        return
    weight = weight_of(module)
    raw = values.raw(weight, here_and_there=True)
    count = _rows_of(weight, blocks=form == "mxfp4 blocks")
    dead = 0
    for start, end in stretches(raw):
        rows = _whole(start, end, raw.size // count) if _is_zero(int(raw[start]), form, own) else range(0)
        if not rows or not _alike(module, rows, count, values):
            yield fault("hollow", weight.key, f"{(end - start) / raw.size:.0%} of it is one code over and over")
            return
        dead += len(rows)
    if dead:
        yield fault("zero_rows", weight.key, f"{dead} or more of its {count} rows, as they are stored, are zero")


def _rows_of(header: Header, *, blocks: bool = False) -> int:
    """Of a matrix, or a stack of them, as they lie in the file."""
    shape = header.shape[:-2] if blocks else header.shape[:-1] or header.shape
    return max(prod(shape), 1)


def _whole(start: int, end: int, width: int) -> range:
    """The rows that a stretch of bytes is; empty where it begins or ends within one."""
    first, last = -(-start // width), end // width
    return range(first, last) if first * width - start <= _STRAY and end - last * width <= _STRAY else range(0)


def _is_zero(byte: int, form: str, own: Spec) -> bool:
    """Whether its codes stand for zero, or may, as zero points say."""
    if form in ZERO_BITS:
        return byte & ZERO_BITS[form] == 0
    if own.symmetric is not True or own.bits not in (2, 4, 8):
        return True
    return byte == sum(1 << (place + own.bits - 1) for place in range(0, 8, own.bits))


def _alike(module: Module, rows: range, count: int, values: Values) -> bool:
    """Whether scales over nothing but these rows, of a matrix of so many, are one number, but for signs."""
    header = next((module.parts[part] for part in SCALES if part in module.parts), None)
    if header is None or not header.shape:
        return True
    down, size = _rows_of(header), prod(header.shape)
    first, last = -(-rows.start * down // count), rows.stop * down // count
    entries = values.raw(header).reshape(size, -1)[first * (size // down) : last * (size // down)]
    if header.dtype in FLOAT_DTYPES and header.dtype != "F8_E8M0":
        entries = entries & np.array([0xFF] * (entries.shape[1] - 1) + [0x7F], np.uint8)
    return bool(np.all(entries == entries[:1]))
