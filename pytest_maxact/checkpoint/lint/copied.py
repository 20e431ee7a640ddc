"""Scales, codes or modules that are those of another layer or expert, as exporters leave them that reuse a buffer.
Modules with their forms in, findings out.

Guard: what was copied on purpose is no fault: layers that are stacked twice, blocks that layers share, experts that
begin as copies of one. There a block is copied as a whole, or all experts of a layer are, or norms of both layers are
the same too. And scales that are all alike tell nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from hashlib import blake2b

import numpy as np

from pytest_maxact.checkpoint.headers import FLOATS, Header
from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.checkpoint.lint.names import Module, expert_of
from pytest_maxact.checkpoint.lint.pieces import SCALES, pieces
from pytest_maxact.checkpoint.lint.tensors import weight_of
from pytest_maxact.checkpoint.lint.values import FLOAT_DTYPES, Values
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import LintFault

_FEW = 64
"""Bytes of scales that could be the same by chance."""
_MOST = 0.5
"""Of codes, what others have in common only where they were made of them."""
_EVEN = 1.01
"""By how much the ratios of scales may differ where a module was copied, and multiplied by a number."""
Prints = tuple[bytes, bytes]
"""Of a module's scales, and of its codes."""
Pair = tuple[Module, Module]


def copied_faults(modules: Mapping[str, Module], forms: Mapping[str, str], values: Values) -> Iterator[LintFault]:
    """`forms`: of every module with a matrix, "" for 16 bits. What was copied on purpose has one remark."""
    by_role: dict[tuple[str, str], dict[str, Prints]] = {}
    for name, form in forms.items():
        if form and (held := _prints(modules[name], values)) is not None:
            by_role.setdefault((modules[name].role, form), {})[name] = held
    whole: list[Pair] = []
    meant: list[Pair] = []
    for found in by_role.values():
        for part in (0, 1):
            for one, other in _alike(found, part):
                pair = modules[one], modules[other]
                if found[one][1 - part] == found[other][1 - part]:
                    whole += [pair] if part == 0 else []
                elif _is_derived(*pair, part, values):
                    meant.append(pair)
                else:
                    yield from _apart(*pair, part, values)
    if whole:
        on_purpose = _purpose(whole, by_role, modules, values)
        for first, second in whole:
            if on_purpose(first, second):
                meant.append((first, second))
            else:
                what = f"it is {weight_of(first).key} to the bit, and the rest of their layers differs"
                yield fault("copied", weight_of(second).key, what)
    if meant:
        first, second = meant[0]
        others = f", and {counted(len(meant) - 1, 'more module')} likewise" if len(meant) > 1 else ""
        yield fault("twin", weight_of(second).key, f"it is a copy of {weight_of(first).key}{others}")


def _purpose(
    whole: list[Pair], by_role: Mapping[tuple[str, str], Mapping[str, Prints]], modules: Mapping[str, Module],
    values: Values,
) -> Callable[[Module, Module], bool]:  # fmt: skip
    """Whether one of two modules that are the same was copied from the other on purpose."""
    blocks: dict[str, dict[str, Prints]] = {}
    experts: dict[tuple[str, int | None], Counter[Prints]] = {}
    for (role, _), found in by_role.items():
        for name, prints in found.items():
            for block in {_block(name), _stack(name)}:
                blocks.setdefault(block, {})[name[len(block) :]] = prints
            experts.setdefault((role, modules[name].layer), Counter())[prints] += 1
    prints_of = {name: prints for found in by_role.values() for name, prints in found.items()}
    twins = Counter(frozenset(held.items()) for held in blocks.values())

    stacks = {
        (_stack(first.name), _stack(second.name)): (first.layer, second.layer)
        for first, second in whole
        if first.layer != second.layer
    }
    stacked = {layers for (one, other), layers in stacks.items() if blocks[one] == blocks[other]}
    norms = cache(lambda layer, twin: _norms_alike(modules, layer, twin, values))

    def on_purpose(first: Module, second: Module) -> bool:
        if first.layer != second.layer:
            return (first.layer, second.layer) in stacked or norms(first.layer, second.layer)
        own = experts[second.role, second.layer]
        most = 2 * own[prints_of[second.name]] > own.total()
        return most or twins[frozenset(blocks[_block(second.name)].items())] > 1

    return on_purpose


def _block(name: str) -> str:
    """The attention, the feed-forward block or the expert that a module belongs to."""
    return name.rpartition(".")[0]


def _stack(name: str) -> str:
    """The same, all experts of a layer taken together."""
    expert = expert_of(name)
    return _block(name) if expert is None else name[: name.rindex(f".{expert}.")]


def _norms_alike(modules: Mapping[str, Module], layer: int | None, twin: int | None, values: Values) -> bool:
    """Whether a norm of one layer is that of the other: tuning with adapters leaves those as they were."""
    held: dict[int | None, dict[str, Header]] = {layer: {}, twin: {}}
    for module in modules.values():
        weight = module.parts.get("weight")
        if module.layer in held and weight is not None and weight.dtype in FLOATS and len(weight.shape) == 1:
            held[module.layer][module.role] = weight
    for role, one in held[layer].items():
        other = held[twin].get(role)
        if other is None or other.dtype != one.dtype:
            continue
        raw = values.numbers(one)
        if bool((raw != raw[:1]).any()) and np.array_equal(raw, values.numbers(other)):
            return True
    return False


def _alike(found: Mapping[str, Prints], part: int) -> Iterator[tuple[str, str]]:
    """Pairs of modules whose scales, or codes, are the same: each with the first that has them."""
    first: dict[bytes, str] = {}
    for name, held in found.items():
        if (other := first.setdefault(held[part], name)) != name:
            yield other, name


def _is_derived(first: Module, second: Module, part: int, values: Values) -> bool:
    """Whether one of two modules was made of the other: most of its codes are the same, under the same scales, or all
    of them under scales that were multiplied by one number.
    """
    if part == 0:
        one, other = (pieces(values.raw(weight_of(module), here_and_there=True)) for module in (first, second))
        return one.shape == other.shape and bool((one == other).mean() > _MOST)
    held = [_scale_of(module) for module in (first, second)]
    if any(scale is None or scale.dtype not in (*FLOAT_DTYPES, "U8") for scale in held):
        return False
    mine, theirs = (values.numbers(scale) for scale in held if scale is not None)
    if mine.shape != theirs.shape or not (mine > 0).all() or not (theirs > 0).all():
        return False
    ratios = theirs / mine
    return bool(ratios.max() < _EVEN * ratios.min())


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
    return blake2b(some.tobytes()).digest(), blake2b(pieces(values.raw(weight, here_and_there=True)).tobytes()).digest()
