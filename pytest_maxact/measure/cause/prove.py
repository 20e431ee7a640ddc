"""Whether a weight entry writes a massive channel: the entry set to zero, the samples run once more, and the entry
put back to the bit.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.quantize import fake_quantized
from pytest_maxact.measure.cause.channels import MassiveChannel
from pytest_maxact.measure.cause.entries import Entry
from pytest_maxact.measure.cause.watch import Watch
from pytest_maxact.measure.effect.headed import Headed
from pytest_maxact.numbers.schemes import Scheme
from pytest_maxact.record.cause import EMBEDDING, MATRIX, Trial

_HEAD_ROWS = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """What samples gave: the largest magnitude of each channel of the residual stream, by site, M of all counted sites,
    inf where an entry was NaN or infinite, and the final hidden states of every token on the host.
    """

    channels: Mapping[str, torch.Tensor]
    m: float
    states: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """What an entry is tried on. `headed`: None where the model predicts nothing; `base`: what it gives as it is."""

    sequences: Sequence[corpus.Sequence]
    headed: Headed | None
    base: Seen
    schemes: Sequence[Scheme]


@torch.no_grad()
def seen(watch: Watch, sequences: Sequence[corpus.Sequence]) -> Seen:
    """One pass over the samples, each alone; the hooks of `watch` are attached."""
    channels: dict[str, torch.Tensor] = {}
    m, states = 0.0, []
    for sequence in sequences:
        for site, tensor in watch.run(sequence.ids).items():
            values = tensor.abs().float().nan_to_num(nan=math.inf, posinf=math.inf).amax(0).cpu()
            channels[site] = torch.maximum(channels[site], values) if site in channels else values
            m = max(m, float(values.max()))
        assert watch.states is not None
        states.append(watch.states.cpu())
    return Seen(channels=channels, m=m, states=torch.cat(states))


@contextmanager
def zeroed(entry: Entry) -> Iterator[None]:
    """The entry at zero for the duration of the context; of an embedding all of its row."""
    place = entry.place[:1] if entry.kind == EMBEDDING else entry.place
    own = entry.parameter.data[place].clone()
    try:
        entry.parameter.data[place] = 0
        yield
    finally:
        entry.parameter.data[place] = own


def tried(entry: Entry, massive: MassiveChannel, watch: Watch, ground: Ground) -> Trial:
    """One evaluation: the channel, M and predictions without the entry."""
    with zeroed(entry):
        found = seen(watch, ground.sequences)
    kl, top1 = _compared(entry, ground, ground.headed, found.states) if ground.headed else (None, None)
    return Trial(
        parameter=entry.name, kind=entry.kind, place=entry.place, value=entry.value, outlier=entry.outlier,
        share=entry.share, without=float(found.channels[massive.site][massive.channel]), m=found.m, mean_kl=kl,
        top1=top1, kept=_kept(entry, ground.schemes),
    )  # fmt: skip


@torch.no_grad()
def _compared(entry: Entry, ground: Ground, headed: Headed, states: torch.Tensor) -> tuple[float, float]:
    """Mean KL of what is predicted without the entry from what was, in nats, and the share of tokens whose first choice
    stays. The head may hold the entry too, as one that is tied to the embedding does.
    """
    ids = torch.tensor([token for sequence in ground.sequences for token in sequence.ids])
    nats, same = 0.0, 0
    for start in range(0, len(ids), _HEAD_ROWS):
        rows = slice(start, start + _HEAD_ROWS)
        log_p = headed.log_probabilities(ids[rows], ground.base.states[rows])
        with zeroed(entry):
            log_q = headed.log_probabilities(ids[rows], states[rows])
        p = log_p.exp()
        nats += float(torch.where(p == 0, 0.0, p * (log_p - log_q)).sum())
        same += int((log_p.argmax(1) == log_q.argmax(1)).sum())
    return max(0.0, nats / len(ids)), same / len(ids)


def _kept(entry: Entry, schemes: Sequence[Scheme]) -> Mapping[str, float]:
    """What rounding leaves of the entry, as a share of it; only of matrices, which schemes quantize."""
    if entry.kind != MATRIX or entry.parameter.ndim != 2 or not entry.value:
        return {}
    matrix = (entry.parameter.data.t() if entry.transposed else entry.parameter.data).contiguous()
    place = entry.place[::-1] if entry.transposed else entry.place
    found: dict[str, float] = {}
    for scheme in schemes:
        how = scheme.weights
        if how is not None and not how.refuses(matrix.shape[1]):
            found[scheme.name] = float(fake_quantized(matrix, how)[place]) / entry.value
    return found
