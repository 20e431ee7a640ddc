"""Weights that were scaled for their inputs before they were quantized, as AWQ and SmoothQuant scale them: what one
tensor was multiplied by, another in front of it was divided by, and the model computes what its source does.

A norm in front of projections, or the projection whose rows are the inputs of the next. Held against the source scaled
alike, such weights are as near as any; the scales are the norm's own, or fitted row by row. Guards that no scale counts
that is not undone where the model computes it: by role, in the same layer, and by all that read the same norm.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from pytest_maxact.checkpoint.weights.rounded import Rounded, against
from pytest_maxact.numbers.schemes import Quantizer

_READERS = (
    (("input_layernorm",), "self_attn", ("q_proj", "k_proj", "v_proj")),
    (("post_attention_layernorm", "pre_feedforward_layernorm"), "mlp", ("gate_proj", "up_proj")),
)
"""Norms by their names in a layer, and in which block which projections read one."""
_IN_FRONT = {"o_proj": "v_proj", "down_proj": "up_proj"}
"""Projections whose inputs are the rows of another one, times something of their own."""
FAR = 3.0
"""Decibels of loss from which on a weight is far from its source."""
_NEARER = 1.0
"""So many decibels nearer is a weight that was scaled to its source scaled alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A weight in low bits, [out, in], and its source, as they are `read`; how it rounds; and by what columns and rows
    of the source are multiplied.
    """

    read: Callable[[], tuple[torch.Tensor, torch.Tensor]]
    how: Quantizer
    columns: torch.Tensor | None = None
    rows: torch.Tensor | None = None

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        artifact, source = self.read()
        if self.columns is not None or self.rows is not None:
            source = source.float()
        source = source if self.columns is None else source * self.columns
        return artifact, source if self.rows is None else source * self.rows[:, None]

    @property
    def found(self) -> Rounded:
        return against(*self.tensors, self.how)

    @property
    def row_factors(self) -> torch.Tensor:
        """By what each row was multiplied, by least squares; 1 for a row of zeros."""
        artifact, source = (tensor.float() for tensor in self.tensors)
        energy = source.square().sum(1)
        return torch.where(energy > 0, (artifact * source).sum(1) / energy, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothed:
    """What scales explain: weights, by name, with their figures against the source scaled alike, and the `norms` that
    undo some of these.
    """

    weights: Mapping[str, Rounded]
    norms: frozenset[str]


def smoothed(layer: str, pairs: Mapping[str, Pair], norms: Mapping[str, torch.Tensor]) -> Smoothed:
    """Of one layer, `model.layers.3`: its weights by name, and by what each norm that differs was divided, by name."""
    nearest = {name: (pair, pair.found) for name, pair in pairs.items()}
    explained: set[str] = set()
    changed: set[str] = set()
    for norm, readers in _norms(layer, norms):
        columns = norms[norm]
        if not all(name in pairs and _fits(pairs[name], columns) for name in readers):
            continue
        scaled = {name: _with_figures(replace(pairs[name], columns=columns)) for name in readers}
        if all(_is_nearer(scaled[name][1], nearest[name][1]) for name in readers):
            nearest |= scaled
            changed |= scaled.keys()
            explained.add(norm)
    for name, pair in pairs.items():
        block, _, own = name.removesuffix(".weight").rpartition(".")
        front = f"{block}.{_IN_FRONT.get(own, '')}.weight"
        if front not in pairs:
            continue
        rows = nearest[front][0].row_factors
        if not _fits(pair, 1 / rows):
            continue
        both = {
            name: _with_figures(replace(nearest[name][0], columns=1 / rows)),
            front: _with_figures(replace(nearest[front][0], rows=rows)),
        }
        if all(_is_nearer(both[one][1], nearest[one][1]) for one in both):
            nearest |= both
            changed |= both.keys()
    if any(not figures.expected_db - figures.sqnr_db < FAR for _, figures in (nearest[name] for name in changed)):
        return Smoothed(weights={}, norms=frozenset())  # scaled on one side alone, or something else: told as it lies
    return Smoothed(weights={name: nearest[name][1] for name in sorted(changed)}, norms=frozenset(explained))


def _with_figures(pair: Pair) -> tuple[Pair, Rounded]:
    return pair, pair.found


def _norms(layer: str, norms: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, list[str]]]:
    """Norms of a layer that differ, each with all that read it."""
    for names, block, projections in _READERS:
        for norm in (f"{layer}.{name}.weight" for name in names):
            if norm in norms:
                yield norm, [f"{layer}.{block}.{one}.weight" for one in projections]


def _fits(pair: Pair, columns: torch.Tensor) -> bool:
    return pair.tensors[1].shape[1] == len(columns) and bool(torch.isfinite(columns).all())


def _is_nearer(scaled: Rounded, plain: Rounded) -> bool:
    return scaled.sqnr_db >= plain.sqnr_db + _NEARER
