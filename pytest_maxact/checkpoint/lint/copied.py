"""Scales, codes or modules that are those of another layer or expert, as exporters leave them that reuse a buffer.
Modules with their forms in, findings out.

Guard: layers that were stacked twice on purpose are no fault, so a module alone is told of only where the rest of its
layer is another; and scales that are all alike tell nothing.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b

import numpy as np

from pytest_maxact.checkpoint.headers import Header
from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.checkpoint.lint.names import Module
from pytest_maxact.checkpoint.lint.pieces import SCALES, pieces
from pytest_maxact.checkpoint.lint.tensors import weight_of
from pytest_maxact.checkpoint.lint.values import Values
from pytest_maxact.numbers.lint import LintFault

_FEW = 64
"""Bytes of scales that could be the same by chance."""
Prints = tuple[bytes, bytes]
"""Of a module's scales, and of its codes."""


def copied_faults(modules: Mapping[str, Module], forms: Mapping[str, str], values: Values) -> Iterator[LintFault]:
    """`forms`: of every module with a matrix, "" for 16 bits."""
    by_role: dict[tuple[str, str], dict[str, Prints]] = {}
    for name, form in forms.items():
        if form and (held := _prints(modules[name], values)) is not None:
            by_role.setdefault((modules[name].role, form), {})[name] = held
    whole: dict[tuple[int | None, int | None], list[tuple[Module, Module]]] = {}
    for found in by_role.values():
        for part in (0, 1):
            for one, other in _alike(found, part):
                first, second = modules[one], modules[other]
                if found[one][1 - part] != found[other][1 - part]:
                    yield from _apart(first, second, part, values)
                elif part == 0:
                    whole.setdefault((first.layer, second.layer), []).append((first, second))
    for (layer, twin), pairs in whole.items():
        own = [name for found in by_role.values() for name in found if modules[name].layer == twin]
        if layer == twin or len(pairs) < len(own):
            for first, second in pairs:
                what = f"it is {weight_of(first).key} to the bit, and the rest of their layers differs"
                yield fault("copied", weight_of(second).key, what)


def _alike(found: Mapping[str, Prints], part: int) -> Iterator[tuple[str, str]]:
    """Pairs of modules whose scales, or codes, are the same: each with the first that has them."""
    first: dict[bytes, str] = {}
    for name, held in found.items():
        if (other := first.setdefault(held[part], name)) != name:
            yield other, name


def _apart(first: Module, second: Module, part: int, values: Values) -> Iterator[LintFault]:
    """Scales over other codes, or codes under other scales; all of them are read now that pieces are the same."""
    one, other = (_scale_of(module) if part == 0 else weight_of(module) for module in (first, second))
    if one is None or other is None or not np.array_equal(values.raw(one), values.raw(other)):
        return
    rest = "codes" if part == 0 else "scales"
    yield fault("copied", other.key, f"it is {one.key} to the bit, and their {rest} are not the same")


def _scale_of(module: Module) -> Header | None:
    return next((module.parts[part] for part in (*SCALES, "weight.absmax") if part in module.parts), None)


def _prints(module: Module, values: Values) -> Prints | None:
    """None where there are too few scales, or all are the same."""
    scale, weight = _scale_of(module), weight_of(module)
    if scale is None or scale.stop - scale.start < _FEW or weight.stop == weight.start:
        return None
    some = pieces(values.raw(scale))
    if not bool((some[4:] != some[:-4]).any()):
        return None
    return blake2b(some.tobytes()).digest(), blake2b(pieces(values.raw(weight)).tobytes()).digest()
