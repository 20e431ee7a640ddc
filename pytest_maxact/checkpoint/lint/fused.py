"""Projections that runtimes put together to one matrix: quantized alike or not at all, under one global scale. Modules
with their forms in, findings out.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.checkpoint.lint.names import Module
from pytest_maxact.checkpoint.lint.tensors import weight_of
from pytest_maxact.checkpoint.lint.values import FLOAT_DTYPES, Values
from pytest_maxact.numbers.lint import LintFault

_SETS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("w1", "w3"))
_GLOBAL = ("weight_global_scale", "weight_scale_2")
_OF_INPUTS = ("input_global_scale", "input_scale")


def fused_faults(modules: Mapping[str, Module], forms: Mapping[str, str], values: Values) -> Iterator[LintFault]:
    """`forms`: of every module with a matrix, "" for 16 bits."""
    for together in _together(modules, forms):
        held = [forms[module.name] for module in together]
        if len(set(held)) > 1:
            odd = next((module for module in together if not forms[module.name]), together[-1])
            others = ", ".join(module.last for module in together if module is not odd)
            how = f"in {forms[odd.name]}" if forms[odd.name] else "in 16 bits"
            yield fault("fused", weight_of(odd).key, f"it is {how}, and {others} of the same kernel otherwise")
            continue
        if held[0] in ("nvfp4", "mxfp4"):
            for part in _GLOBAL:
                yield from _differing(together, part, "global_scale", values)
            for part in _OF_INPUTS:
                yield from _differing(together, part, "global_scale", values)
    yield from _across_experts(modules, forms, values)


def _together(modules: Mapping[str, Module], forms: Mapping[str, str]) -> Iterator[list[Module]]:
    for name, module in modules.items():
        for names in _SETS:
            if module.last != names[0] or name not in forms:
                continue
            parent = name.removesuffix(names[0])
            found = [modules[parent + own] for own in names if parent + own in forms]
            if len(found) > 1:
                yield found


def _differing(together: Sequence[Module], part: str, code: str, values: Values) -> Iterator[LintFault]:
    found = {module.name: value for module in together if (value := _scalar(module, part, values)) is not None}
    if len(found) < 2:
        return
    amounts = sorted(found.values())
    usual = amounts[len(amounts) // 2]
    for module in together:
        value = found.get(module.name)
        if value is not None and value != usual:
            others = ", ".join(other.last for other in together if other is not module and other.name in found)
            key = module.parts[part].key
            yield fault(code, key, f"it is {value:.6g}, and {others} of the same kernel {usual:.6g}")


def _across_experts(modules: Mapping[str, Module], forms: Mapping[str, str], values: Values) -> Iterator[LintFault]:
    """Scales of inputs, of which a layer's experts get one: they read the same tokens."""
    layers: dict[tuple[str, str], dict[str, float]] = {}
    for module in modules.values():
        if module.expert is None or not forms.get(module.name):
            continue
        for part in _OF_INPUTS:
            if (value := _scalar(module, part, values)) is not None:
                place = module.name.rpartition(f".{module.expert}.")[0]
                layers.setdefault((place, part), {})[module.name] = value
    for (_, part), found in layers.items():
        kinds: dict[str, list[float]] = {}
        for name, value in found.items():
            kinds.setdefault(modules[name].last, []).append(value)
        for last, amounts in kinds.items():
            if len(amounts) > 1 and max(amounts) > 1.01 * min(amounts) > 0:
                first = next(name for name in found if modules[name].last == last)
                ratio = max(amounts) / min(amounts)
                yield fault(
                    "experts_differ", modules[first].parts[part].key,
                    f"{last} of the layer's {len(amounts)} experts: the largest is {ratio:.3g} times the smallest",
                )  # fmt: skip


def _scalar(module: Module, part: str, values: Values) -> float | None:
    """A scale that is one number; None where it is none, or no number."""
    header = module.parts.get(part)
    if header is None or header.dtype not in FLOAT_DTYPES or header.stop - header.start > 8:
        return None
    numbers = values.numbers(header)
    return float(numbers[0]) if numbers.size == 1 and bool(np.isfinite(numbers[0])) else None
