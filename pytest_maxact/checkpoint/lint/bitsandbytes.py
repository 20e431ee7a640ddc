"""Modules that bitsandbytes wrote: codes in four bits, maxima of blocks, and a state that says how they lie; in eight
bits, the order in which they lie. A module in, findings out.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from pytest_maxact.checkpoint.formats.bitsandbytes_state import State, are_levels_of, flaws_of, state_of
from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.checkpoint.lint.names import Module
from pytest_maxact.checkpoint.lint.tensors import scale_faults, weight_of
from pytest_maxact.checkpoint.lint.values import FLOAT_DTYPES, Values
from pytest_maxact.numbers.lint import LintFault

_STATE = "weight.quant_state"
_CODES = {"missing": "scale_missing", "shape": "scale_shape", "dtype": "scale_dtype", "codes": "packing"}


def four_bit_faults(module: Module, values: Values) -> Iterator[LintFault]:
    weight = weight_of(module)
    states = [header for part, header in module.parts.items() if part.startswith(_STATE)]
    if not states:
        yield fault("scale_missing", weight.key, "no quant_state lies beside it, so its blocks and shape are unknown")
        return
    if len(states) > 1:
        yield fault("duplicate", states[1].key, f"{states[0].key} is a state of the same module")
    try:
        state = state_of(values.raw(states[0]).tobytes(), states[0].key)
    except (ValueError, TypeError) as error:
        yield fault("packing", states[0].key, f"it is no state that bitsandbytes reads: {error}")
        return
    parts = {name.removeprefix("weight."): header for name, header in module.parts.items()}
    for flaw in flaws_of(state, parts):
        over = parts.get("absmax", weight) if flaw.part.startswith("nested") else weight
        yield fault(_CODES[flaw.kind], parts.get(flaw.part, over).key, flaw.what)
    yield from _of_values(state, parts, weight, values)


def _of_values(state: State, parts: Mapping[str, Header], weight: Header, values: Values) -> Iterator[LintFault]:
    """Maxima of blocks, which may be quantized themselves, and tables of levels."""
    for name in ("absmax", "nested_absmax"):
        if name not in parts:
            continue
        dead = _is_one(values.raw(weight)) if name == "absmax" else _even(state, parts, values)
        for found in scale_faults(parts[name], values, maxima=name == "absmax"):
            if not (dead and found.code == "scale_zero"):
                yield found
    for name in ("quant_map", "nested_quant_map"):
        table = parts.get(name)
        if table is None or table.dtype not in FLOAT_DTYPES:
            continue
        levels = values.numbers(table)
        if not bool((abs(levels) < 1e30).all()):
            yield fault("scale_nonfinite", table.key, "a level of the table is NaN or infinite")
        elif name == "quant_map" and len(levels) == 16 and not are_levels_of(state, levels.tolist()):
            yield fault("packing", table.key, f"its levels are not those of {state.table}, which kernels take")


def _even(state: State, parts: Mapping[str, Header], values: Values) -> bool:
    """Whether maxima of blocks are all alike wherever the one above them is zero, for it is their distance from the
    mean, and blocks of weights of three levels have one maximum.
    """
    above, maxima = parts["nested_absmax"], parts.get("absmax")
    if maxima is None or maxima.dtype != "U8" or not state.nested or above.dtype not in FLOAT_DTYPES:
        return False
    raw, zeros = values.raw(maxima), values.zeros(above).ravel()
    own = [raw[place * state.nested : (place + 1) * state.nested] for place in np.flatnonzero(zeros)]
    return all(_is_one(one) for one in own)


def _is_one(raw: npt.NDArray[np.uint8]) -> bool:
    return bool(raw.size and (raw == raw[0]).all())


def order_faults(module: Module, values: Values) -> Iterator[LintFault]:
    """Codes in eight bits in an order of a GPU's own, as versions before 0.43 saved them."""
    order = module.parts.get("weight_format")
    if order is not None and values.raw(order).any():
        yield fault("packing", order.key, "codes lie in the order of a kernel, and runtimes read rows")
