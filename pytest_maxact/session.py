"""One gate run: prepared once, measured or loaded once, shared by checks, fixtures, xdist workers and the report.

The process that starts the run resolves sites and limits before any weights load. Under xdist it writes them to a folder; the first worker that
needs the Record measures it there under a file lock, and the others load it. A measurement that failed is not tried again by the next worker.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_maxact.errors import InputError, MaxactError, MeasureError
from pytest_maxact.families import identity_of
from pytest_maxact.fitness import failing_sites
from pytest_maxact.limits import Limit, Ruleset, load_limits, select_rules, with_fitness
from pytest_maxact.record import Record
from pytest_maxact.record_file import require_writable
from pytest_maxact.settings import Settings
from pytest_maxact.verdict import Finding, check, require_protocol

if TYPE_CHECKING:
    from pytest_maxact.measure import Prepared
    from pytest_maxact.report.progress import Display

Showing = Callable[[], "Display | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What is known before measuring: the limits that will be checked, and a title for the run."""

    title: str
    rules: Ruleset


class GateSession:
    """State of one run. `folder`: where xdist workers meet; None in a run of one process."""

    def __init__(self, settings: Settings, folder: Path | None = None) -> None:
        self.settings = settings
        self.folder = folder
        self._opening: Opening | None = None
        self._prepared: Prepared | None = None
        self._record: Record | None = None
        self._failure: MaxactError | None = None

    def open(self, protocol_given: bool = False) -> Opening:
        """Resolve sites and limits; no weights are loaded. Raises InputError for a request that is wrong."""
        files = load_limits(Path(self.settings.limits) if self.settings.limits else None)
        if self.settings.replay:
            self._record = Record.load(self.settings.replay)
            self._require_replayable(self._record, protocol_given)
            provenance = self._record.provenance
            sites = [reading.site for reading in self._record.sites.values()]
            self._require_schemes(self._record)
            rules = select_rules(files, identity_of(provenance), sites, self.settings.family)
            rules = with_fitness(
                rules, files, sites, checked=self.settings.deploy, reported=provenance.schemes, predicts=provenance.predicts,
                effects=self._record.effects,
            )  # fmt: skip
            require_protocol(provenance.protocol, rules)
            title = f"{provenance.model} (Record {self.settings.replay})"
        else:
            from pytest_maxact import measure

            if self.settings.save:
                require_writable(Path(self.settings.save))
            self._prepared = measure.prepare(self.settings)
            rules = select_rules(files, self._prepared.identity, self._prepared.sites, self.settings.family)
            rules = with_fitness(
                rules, files, self._prepared.sites, checked=self.settings.deploy, reported=self.settings.schemes_measured,
                predicts=self._prepared.predicts, effects=self.settings.effects_measured,
            )  # fmt: skip
            require_protocol(self.settings.protocol, rules)
            title = f"{self._prepared.checkpoint.name} ({self._prepared.identity.model_type}, {self._prepared.identity.shape})"
        self._opening = Opening(title=title, rules=rules)
        return self._opening

    @property
    def opening(self) -> Opening:
        """What `open` found; in an xdist worker, what the controller found."""
        if self._opening is None:
            assert self.folder is not None
            self._opening = _read_opening(self.folder / "opening.json")
        return self._opening

    @property
    def rules(self) -> Ruleset:
        return self.opening.rules

    def share(self, folder: Path) -> None:
        """Leave what is known in `folder`, for workers."""
        self.folder = folder
        (folder / "opening.json").write_text(json.dumps(asdict(self.opening)), encoding="utf-8")

    def record(self, showing: Showing = lambda: None) -> Record:
        """The Record of this run, measured on first use. Raises MaxactError, the same one each time."""
        if self._failure is not None:
            raise self._failure
        if self._record is None:
            try:
                self._record = self._measure_or_load(showing)
            except MaxactError as error:
                self._failure = error
                raise
        return self._record

    def record_if_any(self) -> Record | None:
        """The Record where this run has one already; never measures."""
        if self._record is None and self.folder is not None and (self.folder / "record.safetensors").is_file():
            self._record = Record.load(self.folder / "record.safetensors")
        return self._record

    def check(self, limit: Limit, showing: Showing = lambda: None) -> Finding:
        return check(self.record(showing), limit)

    def _measure_or_load(self, showing: Showing) -> Record:
        if self.settings.replay:
            return Record.load(self.settings.replay)
        if self.folder is None:
            return self._measure(showing)
        from filelock import FileLock

        shared, failed = self.folder / "record.safetensors", self.folder / "failure.txt"
        with FileLock(self.folder / "measure.lock"):
            if shared.is_file():
                return Record.load(shared)
            if failed.is_file():
                raise MeasureError(failed.read_text(encoding="utf-8"))
            try:
                record = self._measure(showing)
            except Exception as error:
                failed.write_text(str(error) or type(error).__name__, encoding="utf-8")
                raise
            record.save(shared)
            return record

    def _measure(self, showing: Showing) -> Record:
        from pytest_maxact import measure

        prepared = self._prepared or measure.prepare(self.settings)
        progress = showing()
        try:
            fitness = self.rules.fitness
            record = measure.measure(
                prepared, self.settings, self.rules.family, progress, lambda record: failing_sites(record, fitness)
            )  # fmt: skip
        finally:
            if progress:
                progress.close()
        if self.settings.save:
            (record.slim(limit.metric for limit in self.rules.limits) if self.settings.slim else record).save(self.settings.save)
        return record

    def _require_schemes(self, record: Record) -> None:
        """A Record is judged for schemes that it was measured under; sites or effects that it lacks would be checks that nobody runs."""
        provenance = record.provenance
        linear = any(reading.site.is_linear_input for reading in record.sites.values())
        lacking = [
            name
            for name in self.settings.deploy
            if not linear or name not in provenance.schemes or (provenance.predicts and name not in record.effects)
        ]
        if lacking:
            what = "was not measured under it" if lacking[0] not in provenance.schemes else "holds nothing of its effect on predictions"
            raise InputError(
                f"--maxact-deploy {lacking[0]}: the Record {self.settings.replay} {what}\n"
                f"  measure again with --maxact-effect {','.join(self.settings.deploy)}"
            )

    def _require_replayable(self, record: Record, protocol_given: bool) -> None:
        if protocol_given and record.provenance.protocol != self.settings.protocol:
            raise InputError(
                f"{self.settings.replay} was measured under protocol {record.provenance.protocol!r}, not {self.settings.protocol!r}\n"
                "  leave out --maxact-protocol, or measure again under it"
            )


def _read_opening(path: Path) -> Opening:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rules = data["rules"]
    for name in ("limits", "fitness"):
        rules[name] = tuple(Limit(**limit) for limit in rules[name])
    return Opening(title=data["title"], rules=Ruleset(**rules))
