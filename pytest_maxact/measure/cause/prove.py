"""Whether a weight entry writes a massive channel: the entry set to zero, the samples run again, the entry put back to
the bit.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.quantize import fake_quantized
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.measure.cause.channels import MassiveChannel
from pytest_maxact.measure.cause.entries import Entry
from pytest_maxact.measure.cause.watch import Watch
from pytest_maxact.measure.effect.headed import Headed
from pytest_maxact.measure.seen import seen_on
from pytest_maxact.numbers.schemes import Scheme
from pytest_maxact.record.cause import EMBEDDING, MATRIX, Trial

_HEAD_ROWS = 128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """What an entry is tried on. `headed`: None where the model predicts nothing; `base`: what it predicts as it is."""

    loaded: LoadedModel
    anatomy: Anatomy
    sequences: Sequence[corpus.Sequence]
    batch_tokens: int
    tokenizer: object
    headed: Headed | None
    base: torch.Tensor | None
    schemes: Sequence[Scheme]


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
        with watch.attached():
            without = max(
                float(watch.residuals(one.ids)[massive.site][:, massive.channel].abs().max())
                for one in ground.sequences
            )
        seen = seen_on(ground.loaded, ground.anatomy, ground.sequences, ground.batch_tokens, ground.tokenizer)
        states = final_states(ground) if ground.headed else None
        kl, top1 = _compared(ground, states) if states is not None else (None, None)
    return Trial(
        parameter=entry.name, kind=entry.kind, place=entry.place, value=entry.value,
        outlier=entry.outlier, share=entry.share,
        without=without if math.isfinite(without) else math.inf,
        m=max(reading.max_abs for reading in seen.values() if reading.site.counted),
        mean_kl=kl, top1=top1, kept=_kept(entry, ground.schemes),
    )  # fmt: skip


@torch.no_grad()
def final_states(ground: Ground) -> torch.Tensor:
    """Final hidden states of every token, [tokens, width], on the host."""
    assert ground.headed is not None
    found = []
    for sequence in ground.sequences:
        ids = torch.tensor([sequence.ids], device=ground.headed.device)
        found.append(ground.headed.states(ids)[0].cpu())
    return torch.cat(found)


@torch.no_grad()
def _compared(ground: Ground, states: torch.Tensor) -> tuple[float, float]:
    """Mean KL of what is predicted from what was, in nats, and the share of tokens whose first choice stays."""
    assert ground.headed is not None
    assert ground.base is not None
    ids = torch.tensor([token for sequence in ground.sequences for token in sequence.ids])
    nats, same = 0.0, 0
    for start in range(0, len(ids), _HEAD_ROWS):
        rows = slice(start, start + _HEAD_ROWS)
        log_p = ground.headed.log_probabilities(ids[rows], ground.base[rows])
        log_q = ground.headed.log_probabilities(ids[rows], states[rows])
        p = log_p.exp()
        nats += float(torch.where(p == 0, 0.0, p * (log_p - log_q)).sum())
        same += int((log_p.argmax(1) == log_q.argmax(1)).sum())
    return max(0.0, nats / len(ids)), same / len(ids)


def _kept(entry: Entry, schemes: Sequence[Scheme]) -> Mapping[str, float]:
    """What rounding leaves of the entry, as a share of it; only of matrices, which schemes quantize."""
    if entry.kind != MATRIX or entry.parameter.ndim != 2 or not entry.value:
        return {}
    found: dict[str, float] = {}
    for scheme in schemes:
        how = scheme.weights
        if how is not None and not how.refuses(entry.parameter.shape[1]):
            restored = fake_quantized(entry.parameter.data, how)
            found[scheme.name] = float(restored[entry.place]) / entry.value
    return found
