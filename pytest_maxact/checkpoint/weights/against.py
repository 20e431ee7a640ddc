"""The weights of an artifact against those of its source, tensor by tensor from the files of both: each is read once,
given back in 16 bits, compared and let go, so that memory stays at a tensor of each and its rounding.

Tensors of one name and shape stand against each other as they lie; others, as experts one by one against a stack of
them, as the parameter of the model that transformers makes of both. Guards that a tensor which one of the two lacks is
named, and that one in 16 bits is the source's to the bit.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.lint.names import expert_of, layer_of
from pytest_maxact.checkpoint.weights.presence import is_counter, same_tensors
from pytest_maxact.checkpoint.weights.rounded import Rounded, against
from pytest_maxact.checkpoint.weights.smoothed import FAR, Pair, added_to_weight, smoothed
from pytest_maxact.checkpoint.weights.stored import Stored, converted, placed_in
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
class Side:
    """What one of the two holds: its `stored` tensors, and how each is read, by name, with `[...]`; how those in low
    bits round, by name, and by which `method`. `again`: names of tensors that are held by another name too.
    """

    stored: Sequence[Stored]
    tensors: Mapping[str, Any]
    forms: Mapping[str, Quantizer]
    method: str = ""
    again: Collection[str] = ()
    halves: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def weights_against(
    artifact: Side, source: Side, model: nn.Module, source_ties: Mapping[str, Collection[str]]
) -> Weights:
    """`model`: the whole artifact's, on the meta device; `source_ties`: what is one tensor in the source, by name.
    Raises MeasureError for a tensor that cannot be read.
    """
    found = _Found(artifact.method)
    there = {one.key: one for one in source.stored}
    same = {one.key for one in artifact.stored if one.key in there and there[one.key].shape == one.shape}
    for key in (one.key for one in artifact.stored if one.key in same):
        _see(found, key, artifact.tensors[key][...], source.tensors[key][...], artifact.forms.get(key), artifact)
    for layer in found.layers_far_off:
        found.settle(*_smoothed(layer, found, artifact, source, same, model))
    held, whole = placed_in(artifact.stored, model), placed_in(source.stored, model)
    ties, state = same_tensors(model), model.state_dict()
    for path in (path for path in {**held, **whole} if path in state and not is_counter(path)):
        if path in artifact.again and path not in whole:
            continue
        left, gone = ([part for part in parts.get(path, ()) if part.key not in same] for parts in (held, whole))
        own, its = _name_in(held, path, ties), _name_in(whole, path, ties, source_ties)
        if own and its and (left or own != path) and (gone or its != path):
            parts = left or held[own]
            how = next((artifact.forms[part.key] for part in parts if part.key in artifact.forms), None)
            one, other = _parameter(own, held[own], artifact, model), _parameter(its, whole[its], source, model)
            _see(found, path, one, other, how, artifact)
        elif left and not _all_zero(artifact, left):
            found.extra += [part.key for part in left]
        elif gone:
            found.missing += [part.key for part in gone]
    return found.result()


def _see(
    found: "_Found", path: str, one: torch.Tensor, other: torch.Tensor, how: Quantizer | None, artifact: Side
) -> None:  # fmt: skip
    """Compare a parameter, tensor by tensor of the file where several make it up, each by its own form."""
    halves = artifact.halves.get(path, {})
    if not halves or one.shape != other.shape or sum(halves.values()) != one.shape[-2]:
        found.see(path, one, other, how)
        return
    start = 0
    for name, rows in halves.items():
        found.see(name, one.narrow(-2, start, rows), other.narrow(-2, start, rows), artifact.forms.get(name))
        start += rows


def _name_in(parts: Collection[str], path: str, *ties: Mapping[str, Collection[str]]) -> str | None:
    """By what name files hold a parameter: its own, or one that it is tied to."""
    tied = sorted({name for names in ties for name in names.get(path, ())})
    return path if path in parts else next((name for name in tied if name in parts), None)


def _smoothed(
    layer: str, found: "_Found", artifact: Side, source: Side, same: Collection[str], model: nn.Module
) -> tuple[Mapping[str, Rounded], Collection[str]]:
    """Weights of a layer, by name, that are near their source once that is scaled as norms and weights before them say,
    and those norms.
    """
    inside = {one.key: one.shape for one in artifact.stored if one.key in same and one.key.startswith(f"{layer}.")}

    def reading(key: str) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
        return lambda: (artifact.tensors[key][...], source.tensors[key][...])

    def factors(key: str, added: float) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
        return lambda: (artifact.tensors[key][...].float() + added, source.tensors[key][...].float() + added)

    pairs = {
        key: Pair(read=reading(key), how=artifact.forms[key])
        for key in inside
        if key in artifact.forms and len(inside[key]) == 2
    }
    vectors = {key: reading(key) for key in inside if key not in artifact.forms and len(inside[key]) == 1}
    exact = {key: reading(key) for key in inside if key not in artifact.forms and len(inside[key]) == 2}
    shapes = {one.key: one.shape for side in (artifact, source) for one in side.stored}
    explained = smoothed(
        layer, pairs,
        norms={
            key: factors(key, added)
            for key in vectors
            if key in found.changed and (added := added_to_weight(model, key)) is not None
        },
        biases={key: read for key, read in vectors.items() if key.endswith(".bias")},
        names={key.removeprefix(f"{layer}."): shape for key, shape in shapes.items() if key.startswith(f"{layer}.")},
        exact=exact,
    )  # fmt: skip
    return explained.weights, explained.norms & found.changed.keys()


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
        self.changed: dict[str, KeptWeight] = {}
        self._smoothed = 0
        self._counts = {"low": 0, "kept": 0}
        self.missing: list[str] = []
        self.extra: list[str] = []

    def see(self, name: str, artifact: torch.Tensor, source: torch.Tensor, how: Quantizer | None) -> None:
        """Compare one tensor; `how` it rounds, None in 16 bits."""
        key = printable(name)
        self._counts["kept" if how is None else "low"] += 1
        if artifact.shape != source.shape:
            what = f"{list(artifact.shape)}, and {list(source.shape)} in the source"
            self.changed[key] = KeptWeight(
                entries=max(1, artifact.numel()), differing=artifact.numel(), sqnr_db=float("nan"), what=what,
                layer=layer_of(name), expert=expert_of(name),
            )  # fmt: skip
        elif how is None or artifact.ndim < 2:
            if changed := _kept(name, artifact, source):
                self.changed[key] = changed
        elif source.numel():
            self._lows[key] = _low(name, artifact, source, how, self._method)

    @property
    def layers_far_off(self) -> list[str]:
        """Layers with a norm that differs, or a weight far from its rounded source."""
        far = [name for name, low in self._lows.items() if not low.loss_db < FAR]
        far += [name for name in self.changed if name.endswith("norm.weight")]
        found = (_LAYER.match(name) for name in far)
        return sorted({one[0] for one in found if one})

    def settle(self, weights: Mapping[str, Rounded], norms: Collection[str]) -> None:
        """Take figures that weights have against a scaled source, and norms that undo the scales as the source's."""
        for name, one in weights.items():
            self._lows[name] = _with(self._lows[name], one)
        for norm in norms:
            del self.changed[norm]
        self._smoothed += len(weights)

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


def _kept(name: str, artifact: torch.Tensor, source: torch.Tensor) -> KeptWeight | None:
    """None where they are equal, in the dtype of either."""
    pieces = list(zip(*(torch.split(tensor.reshape(-1), _PIECE) for tensor in (artifact, source)), strict=True))
    if not (count := sum(_differing(*pair) for pair in pieces)):
        return None
    signal, error = map(sum, zip(*(_energies(*pair) for pair in pieces), strict=True))
    return KeptWeight(
        entries=artifact.numel(), differing=count, sqnr_db=decibel(signal, error), layer=layer_of(name),
        expert=expert_of(name),
    )  # fmt: skip


def _differing(artifact: torch.Tensor, source: torch.Tensor) -> int:
    if artifact.dtype == source.dtype:
        return int((artifact != source).sum())
    return int(((artifact != source.to(artifact.dtype)) & (artifact.to(source.dtype) != source)).sum())


def _energies(artifact: torch.Tensor, source: torch.Tensor) -> tuple[float, float]:
    """Of a source, and of what an artifact errs from it."""
    exact, given = source.double(), artifact.double()
    return exact.square().sum().item(), (given - exact).square().sum().item()


def _low(name: str, artifact: torch.Tensor, source: torch.Tensor, how: Quantizer, method: str) -> LowWeight:
    """Of all matrices of a stack the worst figures, and the number of that whose loss is the largest."""
    turned = method == _TURNED and artifact.ndim == 3
    found: list[Rounded] = []
    stack = zip(artifact.reshape(-1, *artifact.shape[-2:]), source.reshape(-1, *source.shape[-2:]), strict=True)
    for one, other in stack:
        pair = (one.t().contiguous(), other.t().contiguous()) if turned else (one, other)
        found.append(against(*pair, how))
    place = max(range(len(found)), key=lambda at: _rank(found[at].expected_db - found[at].sqnr_db))
    most = max(range(len(found)), key=lambda at: _rank(found[at].group_loss_db))
    worst, group = found[place], found[most]
    whose = f"expert {most}, " if len(found) > 1 else ""
    return LowWeight(
        form=f"{method} {how.number}",
        entries=artifact.numel(),
        sqnr_db=worst.sqnr_db,
        expected_db=worst.expected_db,
        rescaled=max((one.rescaled for one in found), key=_rank),
        group_loss_db=group.group_loss_db,
        group=f"{whose}{_group(group)}",
        layer=layer_of(name),
        expert=place if len(found) > 1 else expert_of(name),
    )


def _with(low: LowWeight, found: Rounded) -> LowWeight:
    return replace(
        low, sqnr_db=found.sqnr_db, expected_db=found.expected_db, rescaled=found.rescaled,
        group_loss_db=found.group_loss_db, group=_group(found),
    )  # fmt: skip


def _group(found: Rounded) -> str:
    return f"row {found.row}, columns {found.column} to {found.column + found.wide - 1}"
