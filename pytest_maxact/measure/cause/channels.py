"""Massive channels of the residual stream: a model and samples in, the channels that stand far above the others out,
each with the layer where it arises and the token where it is largest.

A channel is massive where its largest magnitude is `MASSIVE` times that of the median channel of the same site that is
not all zero, or more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pytest_maxact import corpus
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.cause.watch import Watch

MASSIVE = 20.0
_MOST = 4
_ARISES = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class MassiveChannel:
    """`site`: the first of the residual stream where it has half of its largest magnitude; `largest` and `ratio` to the
    median channel are of that site, `row` and `position` where it is largest there.
    """

    channel: int
    site: str
    largest: float
    ratio: float
    row: int
    position: int


def massive_channels(watch: Watch, sequences: Sequence[corpus.Sequence]) -> list[MassiveChannel]:
    """At most four, the largest first; none where no channel stands out. Raises MeasureError for what is not finite."""
    largest: dict[str, torch.Tensor] = {}
    where: dict[str, torch.Tensor] = {}
    for row, sequence in enumerate(sequences):
        for site, tensor in watch.residuals(sequence.ids).items():
            values, positions = tensor.abs().float().max(0)
            if not values.isfinite().all():
                raise MeasureError(
                    f"{site} is NaN or infinite on sample {sequence.sample.id}, cut to {len(sequence.ids)} tokens\n"
                    "  mend the weights first: nothing stands out beside what is not finite"
                )
            places = torch.stack([torch.full_like(positions, row), positions])
            if site not in largest:
                largest[site], where[site] = values, places
                continue
            more = values > largest[site]
            largest[site] = torch.where(more, values, largest[site])
            where[site] = torch.where(more, places, where[site])
    found: dict[int, MassiveChannel] = {}
    peaks = {channel: 0.0 for values in largest.values() for channel in _standing_out(values)}
    for channel in peaks:
        peaks[channel] = max(float(values[channel]) for values in largest.values())
    for channel in sorted(peaks, key=lambda one: -peaks[one])[:_MOST]:
        for site, values in largest.items():
            if channel in _standing_out(values) and values[channel] >= _ARISES * peaks[channel]:
                row, position = where[site][:, channel].tolist()
                found[channel] = MassiveChannel(
                    channel=channel, site=site, largest=float(values[channel]),
                    ratio=float(values[channel] / _median(values)), row=row, position=position,
                )  # fmt: skip
                break
    return list(found.values())


def _standing_out(values: torch.Tensor) -> list[int]:
    bound = MASSIVE * _median(values)
    most = values.topk(min(_MOST, len(values))).indices.tolist()
    return [channel for channel in most if float(values[channel]) >= bound]


def _median(values: torch.Tensor) -> float:
    """Of the channels that hold anything; 1 where none does."""
    sound = values[values > 0]
    return float(sound.median()) if sound.numel() else 1.0
