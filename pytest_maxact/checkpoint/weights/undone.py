"""Weights of a layer that were scaled where the model undoes it: what an artifact was compared by in, the weights with
their figures against the source scaled alike, and what undoes the scales, out.

Experts in one stack are seen one by one, under the names that they have where they lie so: what undoes the scale of one
is its own other half. Guards that a stack counts as the model computes with it: which half of it gates, and that
the other goes through as it is, is found out by running it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.weights.rounded import Rounded
from pytest_maxact.checkpoint.weights.smoothed import FUSED, Pair, Reading, added_to_weight, smoothed
from pytest_maxact.numbers.schemes import Quantizer

_STACKS = frozenset({FUSED, "down_proj"})
_HALVES = ("gate_proj", "up_proj")
_GATED = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"))
"""What a gated block is made of: what gates, what is gated, and what reads the product."""
_AFTER_GATES, _AFTER_VALUES = ("down_proj", "w2"), ("o_proj",)
_DRAWN = (-300.0, 500.0)
"""What a gate is run on, far beyond where one is clamped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison by its `name`: of the parameter at `path`, or of one `half` of its rows, 0 or 1, `read` as the two
    lie in the model; how it rounds, None in 16 bits; and what tensors of either the parameter is made of, by `keys`.
    `turned`: it lies [in, out].
    """

    name: str
    path: str
    shape: tuple[int, ...]
    read: Reading
    how: Quantizer | None
    keys: tuple[str, ...]
    half: int | None = None
    turned: bool = False


@dataclass(slots=True)
class Undone:
    """Of weights compared by `name` what scales explain: figures by the number of the expert (None: a matrix that is
    no stack); names of what lies in 16 bits, and is explained.
    """

    weights: dict[str, dict[int | None, Rounded]] = field(default_factory=dict)
    exact: set[str] = field(default_factory=set)


def undone_in(
    layer: str, compared: Sequence[Compared], changed: Collection[str], shapes: Mapping[str, tuple[int, ...]],
    model: nn.Module,
) -> Undone:  # fmt: skip
    """Of one layer, `model.layers.3`: all that was compared in it, the names of what is not the source's in 16 bits,
    and the shapes of all tensors of either.
    """
    inside = [one for one in compared if one.path.startswith(f"{layer}.")]
    apart = {name: (one, number, read) for one in inside for name, number, read in _one_by_one(one, model)}
    whole = {name: one for name, (one, _, _) in apart.items()}
    vectors = {one.name: one.read for one in inside if len(one.shape) == 1 and one.how is None}
    pairs = {name: Pair(read=read, how=one.how) for name, (one, _, read) in apart.items() if one.how}
    stacked = {key for one, number, _ in apart.values() if number is not None for key in one.keys}
    known = {key: shape for key, shape in shapes.items() if key.startswith(f"{layer}.") and key not in stacked}
    found = smoothed(
        layer, pairs,
        norms={
            name: _adding(read, added)
            for name, read in vectors.items()
            if name in changed and (added := added_to_weight(model, name)) is not None
        },
        biases={name: read for name, read in vectors.items() if name.endswith(".bias")},
        names={name.removeprefix(f"{layer}."): shape for name, shape in known.items()}
        | {name.removeprefix(f"{layer}."): one.shape[-2:] for name, one in whole.items()},
        exact={name: read for name, (one, _, read) in apart.items() if one.how is None},
        bent=bent_in(model, layer),
    )  # fmt: skip
    undone = Undone(exact={name for name in found.norms if name in vectors})
    for name, figures in found.weights.items():
        one, number, _ = apart[name]
        undone.weights.setdefault(one.name, {})[number] = figures
    beside = {one.name: [name for name, other in whole.items() if other is one] for one in inside if one.how is None}
    undone.exact |= {name for name, parts in beside.items() if parts and found.norms.issuperset(parts)}
    return undone


def _one_by_one(one: Compared, model: nn.Module) -> Iterator[tuple[str, int | None, Reading]]:
    """A matrix by its name; or every matrix of a stack, by the name that it has where experts lie one by one."""
    if len(one.shape) == 2 and not one.turned:
        yield one.name, None, one.read
    if len(one.shape) != 3:
        return
    module, _, role = one.path.removesuffix(".weight").rpartition(".")
    if role not in _STACKS or not is_gated(model, module):
        return
    role = role if one.half is None else _HALVES[one.half]
    stack = _once(one.read)
    for number in range(one.shape[0]):
        yield f"{module}.{number}.{role}.weight", number, _nth(stack, number)


def _once(read: Reading) -> Reading:
    """Reads a stack when its first matrix is asked for, and holds it as long as its layer is looked at."""
    held: list[tuple[torch.Tensor, torch.Tensor]] = []

    def reading() -> tuple[torch.Tensor, torch.Tensor]:
        if not held:
            held.append(read())
        return held[0]

    return reading


def _nth(stack: Reading, number: int) -> Reading:
    def reading() -> tuple[torch.Tensor, torch.Tensor]:
        artifact, source = stack()
        return artifact[number], source[number]

    return reading


def _adding(read: Reading, added: float) -> Reading:
    def reading() -> tuple[torch.Tensor, torch.Tensor]:
        artifact, source = read()
        return artifact.float() + added, source.float() + added

    return reading


def is_gated(model: nn.Module, path: str) -> bool:
    """Whether experts are stacks [number, out, in], and hand the second half of their rows on times something of the
    first, however large either is: so a scale of a row is undone by the column that reads it.
    """
    try:
        module: Any = model.get_submodule(path)
        stacked = not module.is_transposed and not module.has_bias and bool(module.has_gate)
    except AttributeError:
        return False
    return stacked and _hands_on(module) is True


def bent_in(model: Any, layer: str) -> frozenset[str]:
    """Projections of a layer, `model.layers.3`, whose inputs are not the rows of the one in front of them times
    something, for what is gated, or values, goes through a clamp or a norm before. A layer that the model calls
    otherwise is looked for by its number.
    """
    number = layer.rpartition(".")[2]
    found = [one for name, one in model.named_modules() if name == layer] or [
        one for name, one in model.named_modules() if name.endswith(f"layers.{number}")
    ]
    parts = [part for one in found for part in one.modules()]
    gated = any(_hands_on(part) is False for part in parts)
    clips = getattr(model.config.get_text_config(), "clip_qkv", None)
    values = bool(clips) or any("v_norm" in part._modules for part in parts)
    return frozenset((*(_AFTER_GATES if gated else ()), *(_AFTER_VALUES if values else ())))


def _hands_on(module: nn.Module) -> bool | None:
    """Whether a module hands what it gates on times something else, told by running its gate, or itself with its
    projections taken out; None where that cannot be run.
    """
    gate, up = torch.linspace(*_DRAWN, 7), torch.linspace(-40.0, 400.0, 7)
    by = torch.tensor([0.25, 3.0, 40.0, 1.0, -2.0, 0.5, 7.0])
    try:
        given, scaled = (_gated(module, gate, values) for values in (up, up * by))
        return bool(given.shape[-1] == 7 and torch.allclose(scaled, given * by) and given.isfinite().all())
    except (RuntimeError, AttributeError, TypeError, ValueError, IndexError):
        return None


def _gated(module: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Raises AttributeError for a module that gates nothing."""
    if hasattr(module, "_apply_gate"):
        return torch.as_tensor(module._apply_gate(torch.cat([gate, up])[None]))
    names = next(names for names in (*_GATED, ()) if set(names) <= module._modules.keys())
    if not names:
        raise AttributeError("no gate")
    alone = copy(module)
    alone._modules = dict(zip(names, (_Given(gate), _Given(up), nn.Identity()), strict=True)) | {
        name: part for name, part in module._modules.items() if name not in names
    }
    return torch.as_tensor(alone(torch.zeros(1, 1, 7)))


class _Given(nn.Module):
    """Gives out what it was made of, in the place of a projection."""

    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self._values = values[None, None]

    def forward(self, *_: Any) -> torch.Tensor:
        return self._values
