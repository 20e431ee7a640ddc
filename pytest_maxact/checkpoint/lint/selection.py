"""Which modules are quantized, against which config.json says are: ignored ones that are packed, others that are not,
formats that differ, modules that lie there twice, scales of nothing. Modules with their forms in, findings out.

Guard: what config.json does not decide is not held against a checkpoint. A 16-bit matrix is one that should not be
where modules of the same name in other layers are quantized, or where it is a projection that every method quantizes.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pytest_maxact.checkpoint.headers import FLOATS
from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.checkpoint.lint.names import Module, by_role, is_apart
from pytest_maxact.checkpoint.lint.stated import Spec, Stated
from pytest_maxact.checkpoint.lint.tensors import weight_of
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import LintFault

_PROJECTION = re.compile(r"(?:^|\.)(?:[qkvo]|gate|up|down|qkv|gate_up)_proj$")
_HEAD = "lm_head"
_PACKED = ("weight_packed", "qweight", "blocks", "compressed")
_SCALES = re.compile(
    r"^(?:weight_scale(?:_inv|_2)?|weight_global_scale|scales|SCB|qzeros|weight\.absmax|weight_zero_point)$"
)


def selection_faults(
    modules: Mapping[str, Module], forms: Mapping[str, str], stated: Stated | None, layers: int
) -> Iterator[LintFault]:
    """`forms`: of every module with a matrix, "" for 16 bits; `layers`: as many as the config says, 0 where it does
    not.
    """
    for module in modules.values():
        yield from _duplicate(module)
        yield from _orphan(module, layers, stated)
    low = [name for name, form in forms.items() if form]
    yield from _leftovers(modules, low, stated)
    if stated is None:
        if low:
            first = weight_of(modules[low[0]])
            kinds = ", ".join(sorted({forms[name] for name in low}))
            yield fault(
                "format", first.key, f"{counted(len(low), 'module')} like it are {kinds}, and no config says so"
            )
        return
    if not low and any(stated.spec(name) for name in forms):
        file, _, entry = stated.where.rpartition(": ")
        said = f"{entry} says {stated.method}" if file else f"it says {stated.method}"
        yield fault("format", file or entry, f"{said}, and no tensor is in low bits")
        return
    for name in low:
        yield from _of_low(modules[name], forms[name], stated)
    yield from _unquantized(modules, forms, stated, layers)


def _duplicate(module: Module) -> Iterator[LintFault]:
    held = [part for part in _PACKED if part in module.parts]
    if held and "weight" in module.parts:
        yield fault("duplicate", module.parts["weight"].key, f"{module.parts[held[0]].key} is the same module, packed")
    elif len(held) > 1:
        first, second = (module.parts[part].key for part in held[:2])
        yield fault("duplicate", first, f"{second} is the same module, packed otherwise")


def _orphan(module: Module, layers: int, stated: Stated | None) -> Iterator[LintFault]:
    """A scale without weights in low bits: of a module that is not there, or of one in 16 bits."""
    scales = [part for part in module.parts if _SCALES.match(part)]
    if not scales:
        return
    key = module.parts[scales[0]].key
    if not any(part in module.parts for part in (*_PACKED, "weight")):
        beyond = f", and the model has {counted(layers, 'layer')}" if layers and (module.layer or 0) >= layers else ""
        yield fault("scale_orphan", key, f"no weights of {module.name} lie in the files{beyond}")
        return
    weight = module.parts.get("weight")
    packed = any(part in _PACKED or part.startswith("weight.quant_state") for part in module.parts)
    if weight is not None and weight.dtype in FLOATS and not packed and (stated is None or stated.known):
        yield fault("scale_orphan", key, f"{weight.key} beside it is {weight.dtype}, which has no scale")


def _leftovers(modules: Mapping[str, Module], low: Sequence[str], stated: Stated | None) -> Iterator[LintFault]:
    """Tensors that lie in a quantized module, and that no form has: of calibration, of smoothing, of an adapter."""
    quantized = set(low)
    scaled = stated is not None and "AWQ" in stated.method
    for name, module in modules.items():
        above = name.split(".")
        owner = next((one for n in range(1, len(above)) if (one := ".".join(above[:n])) in quantized), "")
        if owner:
            header = next(iter(module.parts.values()))
            yield fault("leftover", header.key, f"it lies in {owner}, which is quantized, and is no part of it")
        elif name in quantized and "pre_quant_scale" in module.parts and not scaled:
            what = "inputs are to be multiplied by it, and what is stated has no such scale"
            yield fault("leftover", module.parts["pre_quant_scale"].key, what)


def _of_low(module: Module, form: str, stated: Stated) -> Iterator[LintFault]:
    key = weight_of(module).key
    if by := stated.ignored(module.name):
        yield fault("ignored", key, f"it is {form}, and {stated.where} ignores it ({by})")
        return
    own = stated.spec(module.name)
    if own is None and stated.exhaustive:
        yield fault("format", key, f"it is {form}, and no group of {stated.where} names it")
    if own is not None and form not in own.forms and not (form == "sparse" and "sparse" in stated.method):
        yield fault("format", key, f"it is {form}, and {stated.where} says {' or '.join(own.forms)} ({stated.method})")
    elif own is not None:
        yield from _of_codes(module, form, own)


def _of_codes(module: Module, form: str, own: Spec) -> Iterator[LintFault]:
    """Codes in FP8 of another kind than is said."""
    weight = weight_of(module)
    if form in ("fp8", "mxfp8") and own.codes and weight.dtype != own.codes:
        yield fault("format", weight.key, f"its codes are {weight.dtype}, and {own.codes} is what is said of them")


def _unquantized(
    modules: Mapping[str, Module], forms: Mapping[str, str], stated: Stated, layers: int
) -> Iterator[LintFault]:
    quantized = Counter(modules[name].role for name, form in forms.items() if form)
    for role, own in by_role({name: modules[name] for name in forms}).items():
        for module in own:
            if forms[module.name] or not stated.spec(module.name) or not _is_matrix(module):
                continue
            if is_apart(module.name) or (layers and (module.layer or 0) >= layers):
                continue
            weight = weight_of(module)
            if quantized[role]:
                of = counted(len(own), "module")
                what = f"{quantized[role]} of {of} of that name are quantized"
            elif (module.layer is not None and _PROJECTION.search(module.name)) or (
                stated.head and module.last == _HEAD
            ):
                what = f"{stated.where} quantizes it"
            else:
                continue
            yield fault("unquantized", weight.key, f"it is {weight.dtype}, and {what}; nothing ignores it")


def _is_matrix(module: Module) -> bool:
    return len(weight_of(module).shape) >= 2
