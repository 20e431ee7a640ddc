"""One gate run over one checkpoint or a series: opened once, measured or loaded once, shared by checks, fixtures, xdist
workers and the report.

The process that starts the run resolves sites and limits before any weights load. Under xdist it writes them to a
folder; the first worker that needs a Record measures it there under a file lock, and the others load it. A measurement
that failed is not tried again by the next worker.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_maxact.errors import MaxactError, MeasureError, first_line, marked
from pytest_maxact.gate.handover import read_subjects, write_subjects
from pytest_maxact.gate.opening import open_run
from pytest_maxact.gate.sources import Source
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.deploy.fitness import failing_sites
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.verdict.check import check, require_any
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.waiving import waived, waiver_fault
from pytest_maxact.measure.store import Store
from pytest_maxact.record.file import load, save
from pytest_maxact.record.record import Record, first_broken
from pytest_maxact.record.summary import summary
from pytest_maxact.settings.settings import Settings

if TYPE_CHECKING:
    from pytest_maxact.measure.prepared import Prepared
    from pytest_maxact.report.terminal.progress import Display

Showing = Callable[[], "Display | None"]


class GateSession:
    """State of one run. `folder`: where xdist workers meet, None in a run of one process; `cache`: where Records are
    kept unless settings say so.
    """

    def __init__(
        self, settings: Settings, folder: Path | None = None, cache: Callable[[], Path | None] = lambda: None
    ) -> None:
        self.settings = settings
        self.folder = folder
        self._cache = cache
        self._subjects: tuple[Subject, ...] | None = None
        self._baselines: tuple[Source, ...] = ()
        self._prepared: dict[str, Prepared] = {}
        self._records: dict[str, Record] = {}
        self._failures: dict[str, MaxactError] = {}
        self._findings: dict[tuple[str, str], Finding] = {}
        self._broken: dict[str, str | None] = {}

    def open(self, protocol_given: bool = False) -> tuple[Subject, ...]:
        """Find out what the run is about; no weights are loaded. Raises InputError for a request that is wrong."""
        opening = open_run(self.settings, protocol_given)
        self._subjects, self._baselines = opening.subjects, opening.baselines
        self._prepared = {one.source.key: one.prepared for one in opening.opened if one.prepared}
        self._records = {one.source.key: one.record for one in opening.opened if one.record}
        return opening.subjects

    # what is known

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """What `open` found; in an xdist worker, what the controller found."""
        if self._subjects is None:
            assert self.folder is not None
            self._subjects, self._baselines = read_subjects(self.folder / "opening.json")
        return self._subjects

    @property
    def is_series(self) -> bool:
        return bool(self.subjects[0].name)

    @property
    def latest(self) -> Subject:
        """The only checkpoint, or the last of a series."""
        return self.subjects[-1]

    @property
    def baseline_names(self) -> tuple[str, ...]:
        """Of the baselines that were asked for."""
        return tuple(source.name for source in self._baselines) if self.subjects else ()

    @property
    def waivers(self) -> tuple[Waiver, ...]:
        """Those that speak about any checkpoint of the run."""
        return tuple(dict.fromkeys(waiver for subject in self.subjects for waiver in subject.rules.waivers))

    def subject(self, name: str) -> Subject:
        return next(subject for subject in self.subjects if subject.name == name)

    def share(self, folder: Path) -> None:
        """Leave what is known in `folder`, for workers."""
        self.folder = folder
        write_subjects(folder / "opening.json", self.subjects, self._baselines)

    # measuring and judging

    def record(self, subject: Subject | None = None, showing: Showing = lambda: None) -> Record:
        """The Record of a checkpoint under test, of the latest unless said otherwise, measured on first use. Raises
        MaxactError, the same one each time.
        """
        subject = subject or self.latest
        return self._obtain(subject.source, subject.rules, showing)

    def record_if_any(self, subject: Subject) -> Record | None:
        """The Record where this run has one already; never measures."""
        return self._known(subject.source)

    def failure_if_any(self, subject: Subject) -> str | None:
        """Why its Record could not be had, where this run tried; settings are still to be worded."""
        return self._failure(subject.source)

    def baseline(self, name: str, showing: Showing = lambda: None) -> Record:
        """The Record of a baseline, or of another checkpoint of the series."""
        source = next((source for source in self._baselines if source.name == name), None)
        return self._obtain(source, None, showing) if source else self.record(self.subject(name), showing)

    def baseline_if_any(self, name: str) -> Record | None:
        """The same where this run has it already; never measures."""
        return self._known(self._source(name))

    def baselines(self, subject: Subject, showing: Showing = lambda: None) -> dict[str, Record]:
        """The Records that a checkpoint is compared with, by name."""
        return {name: self.baseline(name, showing) for name in subject.against}

    def check(self, subject: Subject, limit: Limit, showing: Showing = lambda: None) -> Finding:
        """One limit on one checkpoint, with the waiver that lets it pass, if any."""
        key = (subject.source.key, limit.check)
        if key not in self._findings:
            baseline = self._sound(limit.against, showing) if limit.against else None
            finding = check(self.record(subject, showing), limit, baseline)
            self._findings[key] = waived(finding, subject.rules.waivers, subject.label)
        return self._findings[key]

    def judge(self, subject: Subject) -> list[Finding]:
        """Every limit on one checkpoint. Raises MeasureError where there is none."""
        return require_any([self.check(subject, limit) for limit in subject.rules.limits])

    def waiver_fault(self, waiver: Waiver, showing: Showing = lambda: None) -> str | None:
        """Why a waiver fails, judged over every check of the run, whether it ran or not; None where it does its
        work.
        """
        findings = (
            (subject.label, self.check(subject, limit, showing))
            for subject in self.subjects
            for limit in subject.rules.limits
            if waiver.covers(limit, subject.label)
        )
        return waiver_fault(waiver, findings)

    def update(self) -> list[str]:
        """Write limits from what was measured, as it was asked for; what was done, a line each. Raises MaxactError
        where nothing can be written.
        """
        from pytest_maxact.judge.suggest.propose import propose
        from pytest_maxact.report.terminal.suggest import closing

        measured = {
            subject.label: record for subject in self.subjects if (record := self.record_if_any(subject)) is not None
        }
        labels, records = list(measured), list(measured.values())
        if not records:
            raise MeasureError("nothing was measured, so there is no evidence for limits")
        proposal = propose(records, Path(self.settings.limits or ""), mode=self.settings.update or "", labels=labels)
        proposal.write()
        failed = sum(not finding.accepted for subject in self.subjects for finding in self.findings_known(subject))
        remark = (
            [f"note: {failed} checks of this run did not hold, and these limits accept what it measured"]
            if failed
            else []
        )
        return [
            *proposal.diff().splitlines(),
            *closing(proposal, [], per_layer=False, written=True),
            *(remark if proposal.changed else []),
        ]

    def is_settled(self, subject: Subject, limit: Limit) -> bool:
        """Whether this run has, or failed to have, every Record that a check needs; where not, judging it would
        measure.
        """
        names = [limit.against] if limit.against else []
        sources = [subject.source, *(self._source(name) for name in names)]
        return all(self._known(source) is not None or self._failure(source) is not None for source in sources)

    def waiver_is_settled(self, waiver: Waiver) -> bool:
        """The same of every check that a waiver covers."""
        return all(
            self.is_settled(subject, limit)
            for subject in self.subjects
            for limit in subject.rules.limits
            if waiver.covers(limit, subject.label)
        )

    def waiver_name(self, waiver: Waiver) -> str:
        """What its check is called: its site, with its line where several have that site."""
        several = sum(other.site == waiver.site for other in self.waivers) > 1
        return f"{waiver.site}:{waiver.line}" if several else waiver.site

    def findings_known(self, subject: Subject) -> list[Finding]:
        """Of every check that can be judged from Records that this run has."""
        found = []
        for limit in subject.rules.limits:
            with suppress(MaxactError):
                if self.is_settled(subject, limit):
                    found.append(self.check(subject, limit))
        return found

    def _failure(self, source: Source) -> str | None:
        if failure := self._failures.get(source.key):
            return marked(failure)
        failed = self._failed(source)
        return failed.read_text(encoding="utf-8") if failed and failed.is_file() else None

    def _source(self, name: str) -> Source:
        """Of a baseline, or of another checkpoint of the series."""
        return next((source for source in self._baselines if source.name == name), None) or self.subject(name).source

    def _sound(self, name: str, showing: Showing) -> Record:
        """A baseline that can be compared with. Raises MeasureError for one that is broken itself."""
        record = self.baseline(name, showing)
        if name not in self._broken:  # asked at every check, so found out once
            broken = first_broken(record.sites.values())
            self._broken[name] = broken.site.name if broken else None
        if first := self._broken[name]:
            raise MeasureError(
                f"{name} is broken itself, {first} has entries that are NaN or infinite, so nothing can be compared"
                " with it"
            )
        return record

    def _known(self, source: Source) -> Record | None:
        if (
            source.key not in self._records
            and self.folder is not None
            and (shared := self.folder / f"{source.file}.safetensors").is_file()
        ):
            self._records[source.key] = load(shared)
        return self._records.get(source.key)

    def _obtain(self, source: Source, rules: Ruleset | None, showing: Showing) -> Record:
        if source.key in self._failures:
            raise self._failures[source.key]
        if source.key not in self._records:
            try:
                self._records[source.key] = self._load_or_measure(source, rules, showing)
            except BaseException as error:
                self._failures[source.key] = _as_failure(error)
                raise
        return self._records[source.key]

    def _load_or_measure(self, source: Source, rules: Ruleset | None, showing: Showing) -> Record:
        if source.is_record:
            return load(source.path)
        if self.folder is None:
            return self._measure(source, rules, showing)
        from filelock import FileLock

        failed = self._failed(source)
        assert failed is not None
        with FileLock(self.folder / f"{source.file}.lock"):
            if (known := self._known(source)) is not None:
                return known
            if failed.is_file():
                raise MeasureError(failed.read_text(encoding="utf-8"))
            try:
                record = self._measure(source, rules, showing)
                save(record, self.folder / f"{source.file}.safetensors")
            except BaseException as error:
                failed.write_text(marked(_as_failure(error)), encoding="utf-8")
                raise
            return record

    def _failed(self, source: Source) -> Path | None:
        """Where xdist workers say why a checkpoint cannot be measured."""
        return self.folder / f"{source.file}.failed" if self.folder else None

    def _measure(self, source: Source, rules: Ruleset | None, showing: Showing) -> Record:
        """The Record, from the cache where its content was measured before."""
        from pytest_maxact.checkpoint.digest import weight_stamps, weights_digest
        from pytest_maxact.checkpoint.locate import with_weights
        from pytest_maxact.measure.prepare import prepare
        from pytest_maxact.measure.provenance import content_of
        from pytest_maxact.measure.run import measure

        settings = source.settings(self.settings)
        prepared = self._prepared.pop(source.key, None) or prepare(settings)
        fitness, family = (rules.fitness, rules.family) if rules else ((), None)

        def measured(digest: str | None = None) -> Record:
            progress = showing()
            try:
                return measure(
                    prepared, settings, family, progress, lambda record: failing_sites(record, fitness), digest
                )
            finally:
                if progress:
                    progress.close()

        store = self._store()
        if store is None:
            record = measured()
        else:
            folder = with_weights(prepared.checkpoint, settings)
            before, digest = weight_stamps(folder), weights_digest(folder)
            content = content_of(prepared, settings, digest, [(limit.check, limit.bound) for limit in fitness])

            def unchanged() -> Record:
                record = measured(digest)
                if weight_stamps(folder) != before:
                    raise MeasureError(
                        f"{folder}: its weight files changed while they were measured\n"
                        "  measure it when nobody writes there"
                    )
                return record

            record = store.obtain(content, unchanged)
            # the same content may have been measured under another path
            name, revision = prepared.checkpoint.name, prepared.checkpoint.revision
            record = replace(
                record, provenance=replace(record.provenance, model=name, revision=revision, family=family)
            )
        if rules and self.settings.save:
            kept = (limit.metric.name for limit in rules.limits if not limit.against)
            save(summary(record, kept) if self.settings.slim else record, self._saved(source))
        return record

    def _store(self) -> Store | None:
        if self.settings.cache:
            return Store(Path(self.settings.cache))
        several = self.is_series or any(not source.is_record for source in self._baselines)
        folder = self._cache() if several else None
        return Store(folder) if folder else None

    def _saved(self, source: Source) -> Path:
        """Where a Record is saved: the file itself, or a file in the folder for one of a series."""
        target = Path(self.settings.save or "")
        if not source.name:
            return target
        target.mkdir(exist_ok=True)
        return target / f"{source.name}.maxact.safetensors"


def _as_failure(error: BaseException) -> MaxactError:
    """What every check is told that needs what could not be measured: of a timeout, or a fault of ours, its first line.
    It is not tried again.
    """
    return (
        error
        if isinstance(error, MaxactError)
        else MeasureError(f"the measurement ended in {type(error).__name__}: {first_line(error)}")
    )
