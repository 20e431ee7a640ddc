"""The weights of an artifact against those of its source, tensor by tensor from the files of both: each is read once,
given back in 16 bits, compared and let go, so that memory stays at a tensor of each and its rounding.

Tensors of one name and shape stand against each other as they lie; others, as experts one by one against a stack of
them, as the parameter of the model that transformers makes of both. Guards that a tensor which one of the two lacks is
named, and that one in 16 bits is the source's to the bit.
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.lint.names import expert_of, layer_of
from pytest_maxact.checkpoint.weights.presence import is_counter, same_tensors
from pytest_maxact.checkpoint.weights.rounded import Rounded, against
from pytest_maxact.checkpoint.weights.smoothed import FAR, Reading
from pytest_maxact.checkpoint.weights.stored import Stored, converted, placed_in
from pytest_maxact.checkpoint.weights.undone import Compared, Undone, undone_in
from pytest_maxact.numbers.against import LISTED, KeptWeight, LowWeight, Weights
from pytest_maxact.numbers.scan import printable
from pytest_maxact.numbers.schemes import Quantizer
from pytest_maxact.numbers.sums import decibel

_LAYER = re.compile(r".*?\blayers\.\d+(?=\.)")
_PIECE = 1 << 22
"""So many entries are compared at a time in 64 bits."""
_TURNED = "mxfp4"
"""The method whose stacks of matrices lie [in, out]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lying:
    """How a file holds a tensor that is in 16 bits or more, where it cannot hold all of its source: in what `dtype`,
    None for one that can; and `within` what an entry may be off, beside one, where it was computed with.
    """

    dtype: torch.dtype | None = None
    within: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one of the two holds: its `stored` tensors, and how each is read, by name, with `[...]`; how those in low
    bits round, by name, and by which `method`. `again`: names of tensors that are held by another name too. `turned`:
    of matrices that lie [in, out].
    """

    stored: Sequence[Stored]
    tensors: Mapping[str, Any]
    forms: Mapping[str, Quantizer]
    method: str = ""
    again: Collection[str] = ()
    turned: Collection[str] = ()
    halves: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    lying: Mapping[str, Lying] = field(default_factory=dict)


def weights_against(
    artifact: Side, source: Side, model: nn.Module, source_ties: Mapping[str, Collection[str]]
) -> Weights:
    """`model`: the whole artifact's, on the meta device; `source_ties`: what is one tensor in the source, by name.
    Raises MeasureError for a tensor that cannot be read.
    """
    found = _Found(artifact.method)
    there = {one.key: one for one in source.stored}
    same = {one.key for one in artifact.stored if one.key in there and there[one.key].shape == one.shape}

    def lying(key: str) -> Reading:
        return lambda: (artifact.tensors[key][...], source.tensors[key][...])

    for key in (one.key for one in artifact.stored if one.key in same):
        _see(found, key, lying(key), artifact.forms.get(key), artifact, (key,))
    held, whole = placed_in(artifact.stored, model), placed_in(source.stored, model)
    ties, state = same_tensors(model), model.state_dict()

    def made(path: str, own: str, its: str) -> Reading:
        return lambda: (
            _parameter(own, held[own], artifact, model),
            _parameter(its, whole[its], source, model),
        )

    for path in (path for path in {**held, **whole} if path in state and not is_counter(path)):
        if path in artifact.again and path not in whole:
            continue
        left, gone = ([part for part in parts.get(path, ()) if part.key not in same] for parts in (held, whole))
        own, its = _name_in(held, path, ties), _name_in(whole, path, ties, source_ties)
        if own and its and (left or own != path) and (gone or its != path):
            parts = left or held[own]
            how = next((artifact.forms[part.key] for part in parts if part.key in artifact.forms), None)
            _see(found, path, made(path, own, its), how, artifact, tuple(one.key for one in (*held[own], *whole[its])))
        elif left and not _all_zero(artifact, left):
            found.extra += [part.key for part in left]
        elif gone:
            found.missing += [part.key for part in gone]
    shapes = {one.key: one.shape for side in (artifact, source) for one in side.stored}
    for layer in found.layers_far_off:
        found.settle(undone_in(layer, found.compared, found.changed, shapes, model))
    return found.result()


def _see(
    found: "_Found", path: str, read: Reading, how: Quantizer | None, artifact: Side, keys: tuple[str, ...]
) -> None:  # fmt: skip
    """Compare a parameter, tensor by tensor of the file where several make it up, each by its own form."""
    one, other = read()
    halves = artifact.halves.get(path, {})
    whole = Compared(
        name=path, path=path, shape=tuple(one.shape), read=read, how=how, keys=keys, turned=path in artifact.turned,
    )  # fmt: skip
    if len(halves) != 2 or one.shape != other.shape or sum(halves.values()) != one.shape[-2]:
        found.see(whole, one, other, artifact.lying.get(path))
        return
    start = 0
    for half, (name, rows) in enumerate(halves.items()):
        own = replace(
            whole, name=name, shape=(*one.shape[:-2], rows, one.shape[-1]), read=_narrowed(read, start, rows),
            how=artifact.forms.get(name), half=half,
        )  # fmt: skip
        found.see(own, one.narrow(-2, start, rows), other.narrow(-2, start, rows))
        start += rows


def _narrowed(read: Reading, start: int, rows: int) -> Reading:
    def reading() -> tuple[torch.Tensor, torch.Tensor]:
        one, other = read()
        return one.narrow(-2, start, rows), other.narrow(-2, start, rows)

    return reading


def _name_in(parts: Collection[str], path: str, *ties: Mapping[str, Collection[str]]) -> str | None:
    """By what name files hold a parameter: its own, or one that it is tied to."""
    tied = sorted({name for names in ties for name in names.get(path, ())})
    return path if path in parts else next((name for name in tied if name in parts), None)


def _all_zero(side: Side, parts: Sequence[Stored]) -> bool:
    """Whether tensors hold nothing, as biases do that some quantizers write beside every weight."""
    return all(part.key.endswith("bias") and not side.tensors[part.key][...].any() for part in parts)


def _parameter(path: str, parts: Sequence[Stored], side: Side, model: nn.Module) -> torch.Tensor:
    """A parameter of the model out of the tensors that make it up."""
    tensors = [side.tensors[part.key][...] for part in parts]
    return tensors[0] if parts[0].converter is None else converted(parts, tensors, model)[path]


class _Found:
    """What was found so far."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._lows: dict[str, LowWeight] = {}
        self._each: dict[str, dict[int | None, Rounded]] = {}
        self.compared: list[Compared] = []
        self.changed: dict[str, KeptWeight] = {}
        self._smoothed = 0
        self._counts = {"low": 0, "kept": 0}
        self.missing: list[str] = []
        self.extra: list[str] = []

    def see(
        self, one: Compared, artifact: torch.Tensor, source: torch.Tensor, lying: Lying | None = None
    ) -> None:  # fmt: skip
        """Compare one tensor, as it was read."""
        name, how, key = one.name, one.how, printable(one.name)
        self.compared.append(one)
        self._counts["kept" if how is None else "low"] += 1
        if artifact.shape != source.shape:
            what = f"{list(artifact.shape)}, and {list(source.shape)} in the source"
            self.changed[key] = KeptWeight(
                entries=max(1, artifact.numel()), differing=artifact.numel(), sqnr_db=float("nan"), what=what,
                layer=layer_of(name), expert=expert_of(name),
            )  # fmt: skip
        elif how is None or artifact.ndim < 2:
            if changed := _kept(name, artifact, source, lying or Lying()):
                self.changed[key] = changed
        elif source.numel():
            self._each[key] = _each(
                artifact, source, how, one.turned or (self._method == _TURNED and artifact.ndim == 3)
            )
            self._lows[key] = _low(one, self._each[key], self._method)

    @property
    def layers_far_off(self) -> list[str]:
        """Layers with a norm that differs, or a weight far from its rounded source."""
        far = {name for name, low in self._lows.items() if not low.loss_db < FAR}
        far |= {name for name in self.changed if name.endswith("norm.weight")}
        found = (_LAYER.match(one.path) for one in self.compared if printable(one.name) in far)
        return sorted({one[0] for one in found if one})

    def settle(self, undone: Undone) -> None:
        """Take figures that weights have against a scaled source, and what undoes the scales as the source's."""
        whole = {one.name: one for one in self.compared if one.name in undone.weights}
        for name, figures in undone.weights.items():
            key = printable(name)
            self._each[key] |= figures
            self._lows[key] = _low(whole[name], self._each[key], self._method)
        for name in undone.exact:
            self.changed.pop(printable(name), None)
        self._smoothed += len(undone.weights)

    def result(self) -> Weights:
        names = {
            name
            for figure in ("loss_db", "rescaled", "group_loss_db")
            for name in sorted(self._lows, key=lambda one: -_rank(getattr(self._lows[one], figure)))[:LISTED]
        }
        changed = sorted(self.changed, key=lambda one: _rank(self.changed[one].sqnr_db))
        return Weights(
            low=self._counts["low"],
            kept=self._counts["kept"],
            usual_loss_db=_median([low.loss_db for low in self._lows.values()]),
            lows={name: low for name, low in self._lows.items() if name in names},
            changed={name: self.changed[name] for name in changed},
            smoothed=self._smoothed,
            missing=tuple(map(printable, self.missing)),
            extra=tuple(map(printable, self.extra)),
        )


def _median(figures: list[float]) -> float:
    """The lower of the two in the middle; 0 where there are none, or one that is no number."""
    ordered = sorted(figure for figure in figures if math.isfinite(figure))
    return ordered[(len(ordered) - 1) // 2] if ordered else 0.0


def _rank(figure: float) -> float:
    """What is no number before all others."""
    return float("inf") if figure != figure else figure


def _kept(name: str, artifact: torch.Tensor, source: torch.Tensor, lying: Lying) -> KeptWeight | None:
    """None where they are equal, in the dtype of either or as a file holds the source."""
    pieces = list(zip(*(torch.split(tensor.reshape(-1), _PIECE) for tensor in (artifact, source)), strict=True))
    if not (count := sum(_differing(one, other, lying) for one, other in pieces)):
        return None
    signal, error = map(sum, zip(*(_energies(*pair) for pair in pieces), strict=True))
    return KeptWeight(
        entries=artifact.numel(), differing=count, sqnr_db=decibel(signal, error), layer=layer_of(name),
        expert=expert_of(name),
    )  # fmt: skip


def _differing(artifact: torch.Tensor, source: torch.Tensor, lying: Lying) -> int:
    differs = (artifact != source.to(artifact.dtype)) & (artifact.to(source.dtype) != source)
    if lying.dtype is not None:
        held = source.to(lying.dtype).to(artifact.dtype)
        differs &= (artifact != held) | ~held.isfinite()
    if lying.within:
        off = (artifact.double() - source.double()).abs()
        differs &= ~(off <= lying.within * (1 + source.double().abs()))
    return int(differs.sum())


def _energies(artifact: torch.Tensor, source: torch.Tensor) -> tuple[float, float]:
    """Of a source, and of what an artifact errs from it."""
    exact, given = source.double(), artifact.double()
    return exact.square().sum().item(), (given - exact).square().sum().item()


def _each(
    artifact: torch.Tensor, source: torch.Tensor, how: Quantizer, turned: bool
) -> dict[int | None, Rounded]:  # fmt: skip
    """Of all matrices of a stack, by their number; of one that is no stack by None."""
    if artifact.ndim == 2:
        pair = (artifact.t().contiguous(), source.t().contiguous()) if turned else (artifact, source)
        return {None: against(*pair, how)}
    stack = zip(artifact.reshape(-1, *artifact.shape[-2:]), source.reshape(-1, *source.shape[-2:]), strict=True)
    pairs = ((one.t().contiguous(), other.t().contiguous()) if turned else (one, other) for one, other in stack)
    return {number: against(*pair, how) for number, pair in enumerate(pairs)}


def _low(one: Compared, each: Mapping[int | None, Rounded], method: str) -> LowWeight:
    """Of all matrices of a stack the worst figures, and the number of that whose loss is the largest."""
    place = max(each, key=lambda at: _rank(each[at].expected_db - each[at].sqnr_db))
    most = max(each, key=lambda at: _rank(each[at].group_loss_db))
    worst, group = each[place], each[most]
    whose = f"expert {most}, " if len(each) > 1 else ""
    return LowWeight(
        form=f"{method} {one.how.number if one.how else ''}",
        entries=math.prod(one.shape),
        sqnr_db=worst.sqnr_db,
        expected_db=worst.expected_db,
        rescaled=max((figures.rescaled for figures in each.values()), key=_rank),
        group_loss_db=group.group_loss_db,
        group=f"{whose}{_group(group)}",
        layer=layer_of(one.name),
        expert=place if len(each) > 1 else expert_of(one.name),
    )


def _group(found: Rounded) -> str:
    return f"row {found.row}, columns {found.column} to {found.column + found.wide - 1}"
