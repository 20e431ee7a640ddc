"""What a series shows inside of its checkpoints: its stages in; the residual stream by layer, the channels of its
largest entries and what schemes cost at their worst site, checkpoint by checkpoint, out.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pytest_maxact.errors import MeasureError
from pytest_maxact.judge.compare.jumps import stream
from pytest_maxact.judge.figures.cells import depth_of
from pytest_maxact.judge.figures.words import plain
from pytest_maxact.judge.series.trend import Stage
from pytest_maxact.record.metrics.figures import integer_figures
from pytest_maxact.record.metrics.scheme import scheme_distortion
from pytest_maxact.record.record import Record

CHANNELS = 8
"""So many channels are followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPoint:
    """A figure of one checkpoint, `place` in its series. `of`: the site, the channel or the scheme it is of, `at` which
    site or depth it sat; `value`: inf or NaN where an entry is not finite.
    """

    checkpoint: str
    place: int
    step: int | None
    of: str
    value: float
    site: str
    depth: int = 0
    massive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """`layers`: the residual stream; `channels`: those with the largest entries, the largest first, of a checkpoint as
    far as they are among the ten largest of a layer; `schemes`: the lowest SQNR in dB of all sites.
    """

    layers: tuple[TrainingPoint, ...]
    channels: tuple[TrainingPoint, ...]
    schemes: tuple[TrainingPoint, ...]


def training_of(stages: Sequence[Stage]) -> Training:
    layers, channels, schemes = [], [], []
    for place, stage in enumerate(stages):
        where = (plain(stage.name), place, stage.step)
        layers += [_point(where, *one) for one in _layers(stage.record)]
        channels += [_point(where, *one) for one in _channels(stage.record)]
        schemes += [_point(where, *one) for one in _schemes(stage.record)]
    largest: dict[str, float] = {}
    for one in channels:
        largest[one.of] = max(largest.get(one.of, 0.0), one.value)
    order = sorted(largest, key=lambda channel: -largest[channel])[:CHANNELS]
    followed = sorted((one for one in channels if one.of in order), key=lambda one: (order.index(one.of), one.place))
    return Training(layers=tuple(layers), channels=tuple(followed), schemes=tuple(schemes))


_Found = tuple[str, float, str, int, bool]


def _point(
    where: tuple[str, int, int | None], of: str, value: float, site: str, depth: int, massive: bool
) -> TrainingPoint:
    checkpoint, place, step = where
    return TrainingPoint(
        checkpoint=checkpoint, place=place, step=step, of=of, value=value, site=site, depth=depth, massive=massive
    )


def _layers(record: Record) -> Iterator[_Found]:
    for reading in stream(record):
        depth = depth_of(reading, record.provenance.layers)
        yield reading.site.name, reading.max_abs, reading.site.name, depth, reading.is_massive


def _channels(record: Record) -> Iterator[_Found]:
    """The largest entry of each channel, and where that is."""
    found: dict[int, _Found] = {}
    for reading in stream(record):
        for peak in reading.peaks:
            value = abs(peak.value)
            if peak.channel not in found or value > found[peak.channel][1]:
                depth = depth_of(reading, record.provenance.layers)
                found[peak.channel] = (f"{peak.channel}", value, reading.site.name, depth, reading.is_massive)
    yield from found.values()


def _schemes(record: Record) -> Iterator[_Found]:
    carrier = record.carrier
    if carrier.has_both_splits:
        broken = carrier.nonfinite
        value = math.nan if broken else integer_figures(carrier, "max_abs").sqnr_db
        yield "INT-8 max_abs, where M is", value, carrier.site.name, 0, False
    for scheme in record.provenance.schemes:
        costs = []
        for reading in record.sites.values():
            if scheme in reading.held.schemes:
                with suppress(MeasureError):
                    broken = reading.breaks_as_deployed
                    costs.append(
                        (math.nan if broken else scheme_distortion(reading, scheme).sqnr_db, reading.site.name)
                    )
        if costs:
            value, site = min(costs, key=lambda cost: (not math.isnan(cost[0]), cost[0]))
            yield scheme, value, site, 0, False
