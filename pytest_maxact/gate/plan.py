"""What a run is about, found before any weights load and the same in every one of its processes: the checkpoints under
test, the baselines, and what they and their checks are called.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pytest_maxact.errors import name_in_id
from pytest_maxact.gate.sources import Source
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.limits.waivers import Waiver


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The checkpoints under test, in the order of their steps, and the baselines that were asked for."""

    subjects: tuple[Subject, ...]
    baselines: tuple[Source, ...] = ()
    """The source that an artifact was made from among them."""

    @property
    def is_series(self) -> bool:
        return bool(self.subjects[0].name)

    @property
    def latest(self) -> Subject:
        """The only checkpoint, or the last of a series."""
        return self.subjects[-1]

    @property
    def baseline_names(self) -> tuple[str, ...]:
        return tuple(source.name for source in self.baselines)

    @property
    def measures_several(self) -> bool:
        """Whether more than one checkpoint may be measured, of which a later run may need one again."""
        return self.is_series or any(not source.is_record for source in self.baselines)

    @property
    def waivers(self) -> tuple[Waiver, ...]:
        """Those that speak about any checkpoint of the run."""
        return tuple(dict.fromkeys(waiver for subject in self.subjects for waiver in subject.rules.waivers))

    @property
    def ids(self) -> tuple[str, ...]:
        """Of every check, those of waivers last."""
        checks = (f"{subject.node}::{limit.check}" for subject in self.subjects for limit in subject.rules.limits)
        return (*checks, *map(self.waiver_id, self.waivers))

    def subject(self, name: str) -> Subject:
        return next(subject for subject in self.subjects if subject.name == name)

    def source(self, name: str) -> Source:
        """Of a baseline, or of another checkpoint of the series."""
        return next((source for source in self.baselines if source.name == name), None) or self.subject(name).source

    def rules(self, source: Source) -> Ruleset | None:
        """What a checkpoint under test is judged by; None for a baseline."""
        return next((subject.rules for subject in self.subjects if subject.source == source), None)

    def covered(self, waiver: Waiver) -> Iterator[tuple[Subject, Limit]]:
        """Every check that a waiver speaks about, of those known before measuring."""
        for subject in self.subjects:
            for limit in subject.rules.limits:
                if waiver.covers(limit, subject.label):
                    yield subject, limit

    def waiver_name(self, waiver: Waiver) -> str:
        """What its check is called: its site, with its line where several have that site."""
        several = sum(other.site == waiver.site for other in self.waivers) > 1
        return name_in_id(f"{waiver.site}:{waiver.line}" if several else waiver.site)

    def waiver_id(self, waiver: Waiver) -> str:
        return f"maxact::waive::{self.waiver_name(waiver)}"
