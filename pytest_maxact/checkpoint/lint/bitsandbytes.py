"""Modules that bitsandbytes wrote in four bits: codes, absolute maxima of blocks, and a state that says how they lie.
A module in, findings out.
"""

import json
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.checkpoint.lint.names import Module
from pytest_maxact.checkpoint.lint.tensors import by, scale_faults, weight_of
from pytest_maxact.checkpoint.lint.values import Values
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import LintFault

_STATE, _ABSMAX, _NESTED = "weight.quant_state", "weight.absmax", "weight.nested_absmax"


def four_bit_faults(module: Module, values: Values) -> Iterator[LintFault]:
    weight = weight_of(module)
    state = next((header for part, header in module.parts.items() if part.startswith(_STATE)), None)
    if state is None:
        yield fault("scale_missing", weight.key, "no quant_state lies beside it, so its blocks and shape are unknown")
        return
    try:
        told = json.loads(values.raw(state).tobytes())
        shape, block = tuple(int(side) for side in told["shape"]), int(told["blocksize"])
        if block < 1:
            raise ValueError("no block has no weights")
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        yield fault("packing", state.key, "it is no state that bitsandbytes reads: JSON with shape and blocksize")
        return
    codes = prod(weight.shape) * (2 if weight.dtype in ("U8", "I8") else 0)
    if codes and codes != prod(shape) + prod(shape) % 2:
        yield fault("packing", weight.key, f"it holds {counted(codes, 'code')}, and its state says {by(shape)}")
    yield from _maxima(module, told, -(-prod(shape) // block), values)
    table = module.parts.get("weight.quant_map")
    if table is not None:
        if table.shape != (16,):
            yield fault("scale_shape", table.key, f"it is {by(table.shape)}, and four bits have 16 levels")
        elif table.dtype == "F32" and not bool(abs(values.numbers(table)).max() < 1e30):
            yield fault("scale_nonfinite", table.key, "a level of the table is NaN or infinite")


def _maxima(module: Module, told: Mapping[str, Any], blocks: int, values: Values) -> Iterator[LintFault]:
    """The maximum of every block, which may be quantized itself."""
    absmax, nested = module.parts.get(_ABSMAX), module.parts.get(_NESTED)
    if absmax is None:
        yield fault("scale_missing", weight_of(module).key, "no absmax lies beside it")
        return
    if prod(absmax.shape) != blocks:
        yield fault("scale_shape", absmax.key, f"it is {by(absmax.shape)}, and there are {counted(blocks, 'block')}")
    if absmax.dtype != "U8":
        yield from scale_faults(absmax, values, maxima=True)
        return
    if nested is None:
        yield fault("scale_missing", absmax.key, "it is quantized itself, and no nested_absmax lies beside it")
        return
    size = int(told.get("nested_blocksize") or 256)
    if prod(nested.shape) != -(-blocks // size):
        wanted = -(-blocks // size)
        yield fault(
            "scale_shape", nested.key, f"it is {by(nested.shape)}, and {wanted} blocks of {size} are called for"
        )
    yield from scale_faults(nested, values)
