"""A series over training steps: its stages in, what is drawn of every checkpoint out."""

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_maxact.judge.figures.training import Training, training_of
from pytest_maxact.judge.figures.words import plain
from pytest_maxact.judge.series.trend import Stage, milestones, trends


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPoint:
    """One checkpoint: its place in the series, its step, None where its name tells none, and the largest magnitude of
    a kind of sites over all layers, or M, inf where an entry is not finite.
    """

    checkpoint: str
    place: int
    step: int | None
    kind: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesDrawn:
    """`stepped`: whether every checkpoint tells its step. `growth`: by kind, per `unit` steps, NaN where it cannot be
    told.
    """

    checkpoints: tuple[str, ...]
    stepped: bool
    points: tuple[SeriesPoint, ...]
    growth: tuple[tuple[str, float], ...]
    unit: int
    training: Training


def series_drawn(stages: Sequence[Stage]) -> SeriesDrawn | None:
    """None of fewer than two checkpoints."""
    if len(stages) < 2:
        return None
    seen = trends(stages)
    values = {"M": [one.m for one in milestones(stages)], **{one.kind: list(one.values) for one in seen}}
    return SeriesDrawn(
        checkpoints=tuple(plain(stage.name) for stage in stages),
        stepped=all(stage.step is not None for stage in stages),
        points=tuple(
            SeriesPoint(checkpoint=plain(stage.name), place=place, step=stage.step, kind=kind, value=of_kind[place])
            for kind, of_kind in values.items()
            for place, stage in enumerate(stages)
        ),
        growth=tuple((one.kind, one.growth) for one in seen),
        unit=seen[0].unit if seen else 0,
        training=training_of(stages),
    )
