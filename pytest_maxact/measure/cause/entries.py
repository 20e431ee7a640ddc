"""Candidates for what writes one activation: the model and the place in, weight entries by how much of it they write
out.

An entry's share is the entry times the gradient of the activation with respect to it: of a matrix that writes to the
residual stream exactly its term of the sum. Matrices are those whose rows are channels of the residual stream; a weight
deeper inside a block has a part in all of its neurons, and is no single cause.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.checkpoint.sites.modules import class_of, is_linear, is_norm, sizes
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.cause.channels import MassiveChannel
from pytest_maxact.measure.cause.watch import Watch
from pytest_maxact.measure.embedded import embedding_of
from pytest_maxact.record.cause import BIAS, EMBEDDING, GAIN, MATRIX

_OF_A_KIND = 3
_LEAST = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """One weight entry; `share` of the activation that it writes, to first order. `transposed`: its matrix is stored
    [in, out].
    """

    name: str
    parameter: nn.Parameter
    kind: str
    place: tuple[int, ...]
    share: float
    transposed: bool = False

    @property
    def value(self) -> float:
        return float(self.parameter.data[self.place])

    @property
    def outlier(self) -> float:
        """Its magnitude in root mean squares of its parameter."""
        size = float(self.parameter.data.float().square().mean().sqrt())
        return abs(self.value) / size if size else 0.0


def candidates(watch: Watch, anatomy: Anatomy, massive: MassiveChannel, ids: Sequence[int]) -> list[Entry]:
    """A few of each kind, by their share. Raises MeasureError where the model gives no gradient."""
    known = _asked(watch, anatomy)
    parameters = [parameter for _, parameter, *_ in known]
    asked = [parameter.requires_grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            value = watch.run(ids)[massive.site][massive.position, massive.channel]
            size = float(value.detach())
            grads = torch.autograd.grad(value, parameters, allow_unused=True)
    except RuntimeError as error:
        raise MeasureError(
            f"the model has no gradient at {massive.site}: {str(error).splitlines()[0]}\n  please report the model_type"
        ) from error
    finally:
        for parameter, was in zip(parameters, asked, strict=True):
            parameter.requires_grad_(was)
    found: dict[str, list[Entry]] = {MATRIX: [], BIAS: [], GAIN: [], EMBEDDING: []}
    for (name, parameter, kind, transposed), grad in zip(known, grads, strict=True):
        if grad is not None:
            found[kind] += [replace(entry, transposed=transposed) for entry in _of(name, parameter, kind, grad, size)]
    return [entry for entries in found.values() for entry in _largest(entries)]


def _largest(entries: list[Entry]) -> list[Entry]:
    """Those that write a tenth of it at least: without another, more than half of it stays."""
    found = [entry for entry in entries if abs(entry.share) >= _LEAST]
    return sorted(found, key=lambda entry: (-abs(entry.share), entry.name, entry.place))[:_OF_A_KIND]


def _of(name: str, parameter: nn.Parameter, kind: str, grad: torch.Tensor, size: float) -> list[Entry]:
    shares = (parameter.detach().float() * grad.float() / (size or 1.0)).nan_to_num(0.0)
    if kind == EMBEDDING:
        whole = shares.sum(1).abs()
        rows = whole.topk(min(_OF_A_KIND, len(whole))).indices.tolist()
        places = [(row, int(shares[row].abs().argmax())) for row in rows]
        return [
            Entry(name=name, parameter=parameter, kind=kind, place=place, share=float(shares[place[0]].sum()))
            for place in places
            if float(whole[place[0]])
        ]
    flat = shares.flatten().abs().topk(min(_OF_A_KIND, shares.numel())).indices.tolist()
    found = [tuple(int(i) for i in torch.unravel_index(torch.tensor(place), shares.shape)) for place in flat]
    return [
        Entry(name=name, parameter=parameter, kind=kind, place=place, share=float(shares[place]))
        for place in found
        if float(shares[place])
    ]


def _asked(watch: Watch, anatomy: Anatomy) -> list[tuple[str, nn.Parameter, str, bool]]:
    """Parameters whose entries may be a cause, each once, with their kind, and whether they are stored [in, out]."""
    decoder = watch.loaded.decoder
    table = embedding_of(anatomy)
    found: dict[int, tuple[str, nn.Parameter, str, bool]] = {}
    for path, module in decoder.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            kind = _kind(module, name, parameter, table, anatomy.hidden_size)
            if kind and parameter.is_floating_point() and not parameter.is_meta:
                called, transposed = f"{path}.{name}".lstrip("."), class_of(module) == "Conv1D"
                found.setdefault(id(parameter), (called, parameter, kind, transposed))
    return list(found.values())


def _kind(module: nn.Module, name: str, parameter: nn.Parameter, table: nn.Module, width: int) -> str:
    """Empty for a parameter that is no candidate."""
    if module is table or isinstance(module, nn.Embedding):
        return EMBEDDING if parameter.ndim == 2 else ""
    if is_norm(module) and parameter.ndim == 1:
        return GAIN if name == "weight" else BIAS
    if name.endswith("bias") and parameter.ndim == 1:
        return BIAS
    if is_linear(module) and name == "weight":
        return MATRIX if sizes(module)[0] == width else ""
    return MATRIX if parameter.ndim == 3 and width in parameter.shape[1:] else ""
