"""A series of Records over training steps: how the largest magnitudes grow, and when they would cross a limit. No
torch.

Growth is the slope of the straight line that fits the checkpoints best (least squares). To continue it is to draw a
line of that slope from the last checkpoint; that is a warning, never a verdict.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_maxact.judge.compare.jumps import first_jump, stream
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.verdict.bound import holds
from pytest_maxact.numbers.ratio import ratio
from pytest_maxact.numbers.sites import KINDS
from pytest_maxact.record.metrics.metric import INT8_SQNR, MAX_ABS
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One checkpoint of a series and its Record; `step` is None where its name tells none."""

    name: str
    step: int | None
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """The largest magnitude of one site kind over all layers, checkpoint by checkpoint, inf where one is not finite.

    `growth`: per `unit` steps, no more than the checkpoints span; NaN with fewer than two whose steps are known.
    """

    kind: str
    values: tuple[float, ...]
    growth: float
    unit: int

    @property
    def relative_growth(self) -> float:
        """Growth per so many steps as a share of the first value, NaN where that is none."""
        return self.growth / self.values[0] if self.values[0] > 0 and math.isfinite(self.values[0]) else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A site whose growth, per `unit` steps, continued, crosses its limit at `step`; it was seen over `span` steps."""

    limit: Limit
    value: float
    growth: float
    unit: int
    span: int
    step: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestone:
    """One checkpoint in one row: M and its site, its factor to the one before and to the first (NaN for the first), the
    first jump layer, how many layers meet the massive-activation criterion, and the carrier's INT-8 SQNR in dB.
    """

    name: str
    step: int | None
    m: float
    site: str
    to_previous: float
    to_first: float
    jump: int | None
    massive_layers: int
    int8_sqnr_db: float


def milestones(series: Sequence[Stage]) -> list[Milestone]:
    """The series row by row, in its order."""
    values = [stage.record.carrier.max_abs for stage in series]
    return [
        Milestone(
            name=stage.name,
            step=stage.step,
            m=values[index],
            site=stage.record.carrier.site.name,
            to_previous=ratio(values[index - 1], values[index]) if index else math.nan,
            to_first=ratio(values[0], values[index]) if index else math.nan,
            jump=first_jump(stage.record),
            massive_layers=sum(reading.is_massive for reading in stream(stage.record)),
            int8_sqnr_db=metric_value(stage.record.carrier, INT8_SQNR),
        )
        for index, stage in enumerate(series)
    ]


def trends(series: Sequence[Stage]) -> list[Trend]:
    """One per site kind that every checkpoint has, in the order of kinds; growth of all of them in one unit."""
    found: dict[str, list[float]] = {}
    for kind in KINDS:
        values = [
            max((r.max_abs for r in stage.record.sites.values() if r.site.kind == kind), default=math.nan)
            for stage in series
        ]
        if not any(math.isnan(value) for value in values):
            found[kind] = values
    points = {kind: [(s.step, v) for s, v in zip(series, values, strict=True)] for kind, values in found.items()}
    unit = min((unit_of(seen) for of_kind in points.values() if (seen := span(of_kind))), default=_MOST_STEPS)
    return [
        Trend(kind=kind, values=tuple(values), growth=unit * slope(points[kind]), unit=unit)
        for kind, values in found.items()
    ]


def can_be_continued(series: Sequence[Stage]) -> bool:
    """Whether there is growth to continue: the step of the last checkpoint is known, and that of another one."""
    return series[-1].step is not None and len({stage.step for stage in series} - {None}) > 1


def crossings(series: Sequence[Stage], limits: Iterable[Limit], horizon: int) -> list[Crossing]:
    """Sites whose largest magnitude is within its limit at the last checkpoint and, growing on as it has, crosses it
    before step `horizon`.

    None too where the series cannot be continued.
    """
    last = series[-1]
    found = []
    for limit in limits:
        if limit.metric != MAX_ABS or limit.site not in last.record.sites or last.step is None:
            continue
        value = last.record.sites[limit.site].max_abs
        points = [
            (stage.step, stage.record.sites[limit.site].max_abs) for stage in series if limit.site in stage.record.sites
        ]
        growth = slope(points)
        if growth > 0 and holds(value, limit) and (step := last.step + (limit.bound - value) / growth) < horizon:
            seen = span(points)
            unit = unit_of(seen)
            found.append(Crossing(limit=limit, value=value, growth=unit * growth, unit=unit, span=seen, step=step))
    return sorted(found, key=lambda crossing: crossing.step)


_MOST_STEPS = 1000
"""Growth is told per so many steps, or fewer."""


def unit_of(seen: int) -> int:
    """Per how many steps growth is told that was seen over so many: a power of ten that is no longer than that."""
    return int(min(_MOST_STEPS, 10 ** math.floor(math.log10(seen))))


def span(points: Iterable[tuple[int | None, float]]) -> int:
    """Over how many steps growth can be seen; 0 where it cannot."""
    steps = [step for step, _ in _known(points)]
    return max(steps) - min(steps) if steps else 0


def slope(points: Iterable[tuple[int | None, float]]) -> float:
    """Growth per step: the slope of least squares, NaN without points at two known steps; values that are not finite
    are left out.
    """
    known = _known(points)
    steps, values = [step for step, _ in known], [value for _, value in known]
    if len(set(steps)) < 2:
        return math.nan
    from statistics import linear_regression

    return linear_regression(steps, values).slope


def _known(points: Iterable[tuple[int | None, float]]) -> list[tuple[int, float]]:
    return [(step, value) for step, value in points if step is not None and math.isfinite(value)]
