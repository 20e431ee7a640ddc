"""Waivers, from the `waive:` list of a limits file: checks that somebody answers for until a day, and that are known to
fail until then.

A waiver whose day has passed lets nothing pass any more and fails itself; one that no failing check needs is stale and
fails too. Non-finite entries are never waived: a broken checkpoint is not one that is a little too large.
"""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import LimitsFile
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.record.metrics.metric import NONFINITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """One entry. `until` is the last day on which it holds, in UTC; `site`, `metric` and `checkpoint` are patterns;
    `up_to` is the worst value that it lets pass, None for any.
    """

    site: str
    metric: str
    checkpoint: str
    reason: str
    owner: str
    until: date
    file: str
    line: int
    up_to: float | None = None

    def covers(self, limit: Limit, checkpoint: str) -> bool:
        """Whether it speaks about this check of this checkpoint, expired or not."""
        pairs = ((checkpoint, self.checkpoint), (limit.site, self.site), (limit.metric.name, self.metric))
        return limit.metric != NONFINITE and all(fnmatch.fnmatchcase(name, pattern) for name, pattern in pairs)

    @property
    def words(self) -> str:
        """What a report says of a check that it lets pass."""
        return f"waived until {self.until} by {self.owner}: {self.reason}"


def waivers_of(files: Sequence[LimitsFile], family: str) -> tuple[Waiver, ...]:
    """The entries that speak about a family, in the order of the files."""
    return tuple(
        Waiver(
            site=entry.site,
            metric=entry.metric,
            checkpoint=entry.checkpoint,
            reason=entry.reason,
            owner=entry.owner,
            until=entry.until,
            file=str(file.path),
            line=file.line("waive", index),
            up_to=entry.up_to,
        )
        for file in files
        for index, entry in enumerate(file.document.waive)
        if entry.family in (None, family)
    )


def about(waivers: Iterable[Waiver], checkpoints: Sequence[str]) -> tuple[Waiver, ...]:
    """Those that speak about any of these checkpoints: a file may hold waivers for others."""
    return tuple(
        waiver for waiver in waivers if any(fnmatch.fnmatchcase(name, waiver.checkpoint) for name in checkpoints)
    )


def refuse_unmatched(waivers: Iterable[Waiver], checks: Iterable[tuple[str, Limit]]) -> None:
    """Raise InputError for a waiver that speaks about none of the checks, pairs of a checkpoint's name and a limit."""
    known = list(checks)
    for waiver in waivers:
        if not any(waiver.covers(limit, checkpoint) for checkpoint, limit in known):
            raise InputError(
                f"{waiver.file}:{waiver.line}: this waiver ({waiver.site}, {waiver.metric}) matches no check of this "
                "run\n"
                "  correct its patterns, say `family:` where it is meant for another one, or remove it; `nonfinite` "
                "cannot be waived"
            )
