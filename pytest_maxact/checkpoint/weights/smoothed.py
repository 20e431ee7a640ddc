"""Weights that were scaled for their inputs before they were quantized, as AWQ and SmoothQuant scale them: what one
tensor was multiplied by, another in front of it was divided by, and the model computes what its source does.

A norm in front of projections, or the projection whose rows are the inputs of the next. Held against the source scaled
alike, such weights are as near as any; the scales are the norm's own, or fitted row by row. Guards that no scale counts
that is not undone where the model computes it: by role, in the same layer, and by all that read the same norm. Where
most of these were scaled as the norm says, the few that were not are held to it, and named.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import nn

from pytest_maxact.checkpoint.weights.rounded import Rounded, against, by_column
from pytest_maxact.numbers.schemes import Quantizer

Reading = Callable[[], tuple[torch.Tensor, torch.Tensor]]
"""A tensor of the artifact and the source's."""
_READERS = {
    "self_attn": ("q_proj", "k_proj", "v_proj"),
    "mlp": ("gate_proj", "up_proj"),
    "block_sparse_moe": ("w1", "w3"),
}
"""By block, the projections that read the norm in front of it, of experts each of them."""
_EXPERT = re.compile(r"^(?:experts\.\d+|shared_experts?)\.(\w+)$")
"""A projection of one expert, or of what all tokens go through, by its name in the block."""
_ROUTERS = frozenset({"gate", "shared_expert_gate"})
"""What reads the norm beside experts, by its name in the block."""
_BEFORE_MLP = ("pre_feedforward_layernorm", "pre_ff_layernorm", "pre_mlp_layernorm")
"""Norms that lie in front of the MLP wherever a layer has one of them."""
_BLOCKS = frozenset(
    {"self_attn", "linear_attn", "mlp", "feed_forward", "block_sparse_moe", "experts", "router"}
    | {"per_layer_input_gate", "per_layer_projection"}
)
"""Blocks of a layer that read no norm of another block; of any other it is not known what they read."""
_IN_FRONT = {"o_proj": "v_proj", "down_proj": "up_proj", "w2": "w3"}
"""Projections whose inputs are the rows of another one, times something of their own."""
FUSED, _AFTER_FUSED = "gate_up_proj", "down_proj"
"""One matrix of an expert, first the rows that gate and then those that are gated; and what reads the product."""
_OF_EXPERT = re.compile(r"\.experts\.\d+$")
_GATES = {"down_proj": "gate_proj", "w2": "w1"}
"""What gates these inputs, without which they are a power of the rows."""
_BESIDE_VALUES = frozenset({"q_norm", "k_norm", "q_layernorm", "k_layernorm"})
"""Norms in attention that values do not go through."""
FAR = 3.0
"""Decibels of loss from which on a weight is far from its source."""
_UNLIKE = 6.0
"""Decibels of loss from which on a weight is not its source scaled; a calibrated quantizer (GPTQ) loses up to 5."""
_SAME = 0.02
"""A bias or a matrix in 16 bits is another one divided by scales up to this share of it."""
_SHOWN = 0.1
"""A column tells by what it was multiplied where rounding takes this share of its energy at most."""
_OFF = 0.25
"""A column that is multiplied as is said is so up to this; clipping and calibration move one by less."""
_NEARER = 1.0
"""So many decibels nearer is a weight that was scaled to its source scaled alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A weight in low bits, [out, in], and its source, as they are `read`; how it rounds; and by what columns and rows
    of the source are multiplied.
    """

    read: Reading
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
    undo some of these, with biases and matrices in 16 bits that were scaled as these are.
    """

    weights: Mapping[str, Rounded]
    norms: frozenset[str]


def smoothed(
    layer: str,
    pairs: Mapping[str, Pair],
    *,
    norms: Mapping[str, Reading],
    biases: Mapping[str, Reading],
    names: Mapping[str, tuple[int, ...]],
    exact: Mapping[str, Reading] | None = None,
    bent: Collection[str] = (),
) -> Smoothed:
    """Of one layer, `model.layers.3`: its weights by name, norms that differ, biases, and the shapes of all that it
    has, by their `names` in it; `exact`: its matrices in 16 bits; `bent`: projections whose inputs are not the rows of
    another one times something, by what they are called.
    """
    nearest = {name: (pair, pair.found) for name, pair in pairs.items()}
    explained: set[str] = set()
    changed: set[str] = set()
    read: list[list[str]] = []
    for norm, readers in _norms(layer, names):
        low = [name for name in readers if name in pairs]
        beside = {name: exact[name] for name in readers if exact and name in exact and name not in pairs}
        if norm not in norms or not low or len(low) + len(beside) < len(readers):
            continue
        artifact, source = (tensor.float() for tensor in norms[norm]())
        columns, bias = source / artifact, norm.removesuffix("weight") + "bias"
        if not all(_fits(pairs[name], columns) for name in low) or not _undoes(biases.get(bias), columns):
            continue
        if not all(_undoes(reading, 1 / columns) for reading in beside.values()):
            continue
        scaled = {name: _with_figures(replace(pairs[name], columns=columns)) for name in low}
        if not _is_followed([pair for pair, found in scaled.values() if _is_alike(found)]):
            continue
        if _most(low, lambda name: _is_nearer(scaled[name][1], nearest[name][1])):  # noqa: B023
            nearest |= scaled
            changed |= scaled.keys()
            explained |= {norm, bias, *beside}
            read.append(low)
    for name, pair in pairs.items():
        block, _, own = name.removesuffix(".weight").rpartition(".")
        front, fused = _front(block, own, pairs)
        if not front or own in bent or not _hands_on(block.removeprefix(f"{layer}."), own, names):
            continue
        bias = front.removesuffix("weight") + "bias"
        rows = _of_bias(biases.get(bias), nearest[front][0].row_factors)
        handed = rows[len(rows) // 2 :] if fused else rows
        if not _fits(pair, 1 / handed):
            continue
        rows = torch.cat([torch.ones(len(rows) - len(handed)), handed]) if fused else rows
        both = {
            name: _with_figures(replace(nearest[name][0], columns=1 / handed)),
            front: _with_figures(replace(nearest[front][0], rows=rows)),
        }
        near = (_is_nearer(found, nearest[one][1]) and _is_alike(found) for one, (_, found) in both.items())
        if _is_followed([both[name][0]]) and all(near):
            nearest |= both
            changed |= both.keys()
            explained.add(bias)
    if not all(_most(low, lambda name: _is_alike(nearest[name][1])) for low in read):
        return Smoothed(weights={}, norms=frozenset())  # scaled on one side alone, or something else: told as it lies
    return Smoothed(weights={name: nearest[name][1] for name in sorted(changed)}, norms=frozenset(explained))


def added_to_weight(model: nn.Module, key: str) -> float | None:
    """What a norm adds to its weight, of this name, before it multiplies by it: 1 where it is Gemma's, 0 elsewhere.
    None where it does something else with it. Found out by running it with other weights, so on a model without any.
    """
    try:
        norm = deepcopy(model.get_submodule(key.removesuffix(".weight")))
        shape = norm.get_parameter("weight").shape
        for name, other in tuple(norm.named_parameters()):
            setattr(norm, name, nn.Parameter(torch.zeros(other.shape), requires_grad=False))
        given = []
        for value in (0.0, 1.0, 2.0):
            norm.weight = nn.Parameter(torch.full(shape, value), requires_grad=False)
            given.append(norm(torch.linspace(0.5, 1.5, shape[0])[None]))
    except (RuntimeError, AttributeError, TypeError, ValueError, KeyError, IndexError):
        return None
    step = given[1] - given[0]
    if not torch.allclose(given[2] - given[1], step, atol=1e-6) or not step.all():
        return None
    return next((added for added in (0.0, 1.0) if torch.allclose(given[0], added * step, atol=1e-6)), None)


def _front(block: str, own: str, pairs: Mapping[str, Pair]) -> tuple[str, bool]:
    """The weight whose rows are the inputs of another of its block, empty for none; and whether they are its second
    half, as in experts whose gates and what they gate are one matrix.
    """
    front = f"{block}.{_IN_FRONT.get(own, '')}.weight"
    if front in pairs:
        return front, False
    fused = f"{block}.{FUSED}.weight"
    return (fused, True) if own == _AFTER_FUSED and fused in pairs and _OF_EXPERT.search(block) else ("", False)


def _hands_on(block: str, own: str, names: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a block hands rows of the one projection on to the other times something of their own: a gate, not a
    power of them, and through no norm.
    """
    inside = {name.removeprefix(f"{block}.").partition(".")[0] for name in names if name.startswith(f"{block}.")}
    normed = {name for name in inside if "norm" in name and name not in _BESIDE_VALUES}
    return not normed and (own not in _GATES or not inside.isdisjoint({_GATES[own], FUSED}))


def _most(names: Sequence[str], holds: Callable[[str], bool]) -> bool:
    return 2 * sum(map(holds, names)) > len(names)


def _with_figures(pair: Pair) -> tuple[Pair, Rounded]:
    return pair, pair.found


def _norms(layer: str, names: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, list[str]]]:
    """Norms of a layer, each with all that read it; none where it is not known what does."""
    before_mlp = next((norm for norm in _BEFORE_MLP if f"{norm}.weight" in names), None)
    if before_mlp is None and "post_feedforward_layernorm.weight" not in names and "input_layernorm.weight" in names:
        before_mlp = "post_attention_layernorm"  # elsewhere it normalises what attention gives out
    matrices = [name.removesuffix(".weight") for name, shape in names.items() if len(shape) > 1]
    if f"{before_mlp}.weight" not in names or not {name.partition(".")[0] for name in matrices} <= _BLOCKS:
        return
    for norm, blocks in (("input_layernorm", ("self_attn",)), (before_mlp, ("mlp", "block_sparse_moe"))):
        for block in blocks:
            inside = [name.removeprefix(f"{block}.") for name in matrices if name.startswith(f"{block}.")]
            readers = _reading(block, inside)
            if readers and not (_EXPERT.match(readers[0]) and _has_norms(block, names)):
                yield f"{layer}.{norm}.weight", [f"{layer}.{block}.{one}.weight" for one in readers]


def _reading(block: str, inside: Sequence[str]) -> list[str]:
    """Those of the matrices `inside` a block that read the norm in front of it; none where one is not known, or one
    that ought to is not there.
    """
    own = _READERS[block]
    if not any(_EXPERT.match(name) for name in inside):
        return list(own) if set(inside) <= {*own, *_IN_FRONT} else []
    found = []
    for name in inside:
        expert = _EXPERT.match(name)
        if name in _ROUTERS or (expert and expert[1] in (*own, FUSED)):
            found.append(name)
        elif not expert or expert[1] not in _IN_FRONT:
            return []
    return sorted(found, key=lambda name: name in _ROUTERS)


def _has_norms(block: str, names: Mapping[str, tuple[int, ...]]) -> bool:
    return any("norm" in name for name in names if name.startswith(f"{block}."))


def _is_followed(scaled: Sequence[Pair]) -> bool:
    """Whether every single column of weights that are scaled alike was multiplied by what they say, by least squares
    over all of them: one that was not hardly shows in the error of a few bits.
    """
    if not scaled:
        return True
    signal, given, lost, along, expected = torch.stack([by_column(*one.tensors, one.how) for one in scaled]).sum(0)
    rows = sum(len(one.tensors[1]) for one in scaled)
    beside = (given - along.square() / signal).clamp(min=0)
    by_chance = 4 * (beside / signal / rows).sqrt()
    off = (along - expected).abs() / signal > _OFF + by_chance
    return not (off & (lost <= _SHOWN * torch.maximum(signal, given))).any()


def _undoes(bias: Reading | None, columns: torch.Tensor) -> bool:
    """Whether the bias of a norm, if it has one, or the columns of a matrix were divided by these."""
    if bias is None:
        return True
    artifact, source = (tensor.float() for tensor in bias())
    if artifact.shape[-1] != len(columns):
        return False
    return bool(((artifact * columns - source).abs() <= _SAME * source.abs()).all())


def _of_bias(bias: Reading | None, rows: torch.Tensor) -> torch.Tensor:
    """By what rows were multiplied: as their bias, if they have one, which is scaled with them or not at all."""
    if bias is None:
        return rows
    artifact, source = (tensor.float() for tensor in bias())
    return torch.where((source == 0) & (artifact == 0), rows, artifact / source)


def _fits(pair: Pair, columns: torch.Tensor) -> bool:
    return pair.tensors[1].shape[1] == len(columns) and bool(torch.isfinite(columns).all())


def _is_alike(scaled: Rounded) -> bool:
    return scaled.expected_db - scaled.sqnr_db < _UNLIKE


def _is_nearer(scaled: Rounded, plain: Rounded) -> bool:
    return scaled.sqnr_db >= plain.sqnr_db + _NEARER
