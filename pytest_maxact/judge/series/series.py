"""A series of Records as reports show it: its stages, limits and findings in, its rows, trends, partings and what would
cross a limit before a horizon out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.parting import Parting, parting_of
from pytest_maxact.judge.series.trend import (
    Crossing,
    Milestone,
    Stage,
    Trend,
    can_be_continued,
    crossings,
    milestones,
    trends,
)
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What would cross a limit before step `horizon`, were growth to go on as it has; None where there is no growth to
    continue.
    """

    horizon: int
    crossings: tuple[Crossing, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parted:
    """A checkpoint that changed too much since the one it was compared with, and where."""

    before: str
    after: str
    parting: Parting


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Its checkpoints in order, a trend per kind of site, the partings, and the outlook where a horizon was given."""

    milestones: tuple[Milestone, ...]
    trends: tuple[Trend, ...]
    parted: tuple[Parted, ...] = ()
    outlook: Outlook | None = None


def series_of(
    stages: Sequence[Stage],
    limits: Iterable[Limit] = (),
    horizon: int | None = None,
    findings: Mapping[str, Sequence[Finding]] | None = None,
) -> Series:
    """`limits`: those of the last checkpoint, for `horizon`, a step; `findings`: by checkpoint."""
    outlook = None
    if horizon is not None and stages:
        continued = can_be_continued(stages)
        outlook = Outlook(horizon=horizon, crossings=tuple(crossings(stages, limits, horizon)) if continued else None)
    return Series(
        milestones=tuple(milestones(stages)),
        trends=tuple(trends(stages)),
        parted=tuple(_parted({stage.name: stage.record for stage in stages}, findings or {})),
        outlook=outlook,
    )


def _parted(records: Mapping[str, Record], findings: Mapping[str, Sequence[Finding]]) -> Iterator[Parted]:
    """For every checkpoint that changed too much, where it parts from each of those it was compared with."""
    for name, of_one in findings.items():
        broken = [finding for finding in of_one if finding.limit.against and not finding.passed]
        for before in dict.fromkeys(finding.limit.against for finding in broken):
            breaches = [finding for finding in broken if finding.limit.against == before]
            if name in records and (parting := parting_of(records[name], breaches)):
                yield Parted(before=before, after=name, parting=parting)
