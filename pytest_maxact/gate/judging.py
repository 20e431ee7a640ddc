"""The checks of a run judged, each once, on the Records that it has or obtains."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from pytest_maxact.errors import MaxactError
from pytest_maxact.gate.measuring import Showing, nothing_shown
from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.records import Records
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.trust.intervals import Intervals
from pytest_maxact.judge.verdict.check import check, require_any, settled
from pytest_maxact.judge.verdict.close import WARN, with_interval
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.verdict import require_sound
from pytest_maxact.judge.verdict.weights import tensor_limits
from pytest_maxact.record.record import Record


class Judging:
    """The findings of a run so far, and which baselines are known to be sound. `unwaived`: why no waiver lets a check
    of this run pass, empty where they do; `close`: what becomes of figures that are too close to their limits.
    """

    def __init__(self, plan: Plan, records: Records, unwaived: str = "", close: str = WARN) -> None:
        self._plan, self._records, self.unwaived, self._close = plan, records, unwaived, close
        self._intervals: dict[str, Intervals] = {}
        self._findings: dict[tuple[str, str], Finding] = {}
        self._sound: set[str] = set()

    def check(self, subject: Subject, limit: Limit, showing: Showing = nothing_shown) -> Finding:
        """One limit on one checkpoint, with the waiver that lets it pass, if any. Raises MaxactError."""
        key = (subject.source.key, limit.check)
        if key not in self._findings:
            baseline = self._baseline(limit.against, showing) if limit.against else None
            record = self._records.obtain(subject.source, showing)
            intervals = self._intervals_of(subject.source.key, record)
            finding = with_interval(check(record, limit, baseline), intervals, baseline, self._close)
            after = settled(record, finding, subject.rules.waivers, subject.label)
            self._findings[key] = self._without_waiver(finding, after) if self.unwaived else after
        return self._findings[key]

    def take(self, subject: Subject, findings: Mapping[str, Finding]) -> None:
        """What was found elsewhere of a checkpoint's checks, by their names: they are not judged again."""
        self._findings |= {(subject.source.key, check): finding for check, finding in findings.items()}

    def _intervals_of(self, key: str, record: Record) -> Intervals:
        if key not in self._intervals:
            self._intervals[key] = Intervals(record)
        return self._intervals[key]

    def _without_waiver(self, finding: Finding, after: Finding) -> Finding:
        """As it was found, and said to be so; `after`: as its waiver would have left it."""
        if finding.passed or not after.accepted:
            return finding
        return replace(finding, message=f"{finding.message}; its waiver is not applied, by {self.unwaived}")

    def limits(self, subject: Subject) -> tuple[Limit, ...]:
        """Those that were known before measuring, and, where this run has the Record, one for every tensor at fault."""
        limits = subject.rules.limits
        record = self._records.known(subject.source)
        return limits if record is None else (*limits, *tensor_limits(record, limits))

    def tensors(self, subject: Subject, limit: Limit) -> list[Finding]:
        """What a check of all weights found of single tensors, of which the run had no checks of their own."""
        known = {one.check for one in subject.rules.limits}
        return [
            self.check(subject, one)
            for one in tensor_limits(self._records.obtain(subject.source), [limit])
            if one.check not in known
        ]

    def every(self, subject: Subject) -> list[Finding]:
        """Every limit on one checkpoint. Raises MeasureError where there is none."""
        self._records.obtain(subject.source)
        return require_any([self.check(subject, limit) for limit in self.limits(subject)])

    def known(self, subject: Subject) -> list[Finding]:
        """Of every check that can be judged from Records that this run has."""
        found = []
        for limit in self.limits(subject):
            with suppress(MaxactError):
                if self.is_settled(subject, limit):
                    found.append(self.check(subject, limit))
        return found

    def is_settled(self, subject: Subject, limit: Limit) -> bool:
        """Whether this run has, or failed to have, every Record that a check needs; where not, judging it would
        measure.
        """
        others = [self._plan.source(limit.against)] if limit.against else []
        return all(self._records.is_settled(source) for source in (subject.source, *others))

    def _baseline(self, name: str, showing: Showing) -> Record:
        """A baseline that can be compared with. Raises MeasureError for one that is broken itself."""
        record = self._records.obtain(self._plan.source(name), showing)
        if name not in self._sound:  # asked at every check, so found out once
            require_sound(name, record)
            self._sound.add(name)
        return record
