"""The Records of a run: each loaded or measured once, whoever asks for it first, and a failure remembered.

Under xdist the workers meet in a folder: the first that needs a Record measures it there, the others load it, and a
measurement that failed is not tried again by the next worker.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_maxact.errors import InputError, MaxactError, MeasureError, first_line, marked
from pytest_maxact.gate.candidate import Candidate
from pytest_maxact.gate.errand import measure_source
from pytest_maxact.gate.measuring import Showing, nothing_shown
from pytest_maxact.gate.meeting import sharing, unshared
from pytest_maxact.gate.outputs import checkpoints_of, save_finds, save_record
from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.sources import Source
from pytest_maxact.measure.once import locked, once
from pytest_maxact.measure.resume.resumption import Resumption, until_safe
from pytest_maxact.measure.store import Store
from pytest_maxact.record.file import load, save
from pytest_maxact.record.output import inside_checkpoint
from pytest_maxact.record.record import Record
from pytest_maxact.record.whole import write_whole
from pytest_maxact.settings.settings import Settings

if TYPE_CHECKING:
    from pytest_maxact.measure.prepared import Prepared
    from pytest_maxact.measure.ranks.team import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A folder where Records of several checkpoints are kept unless settings say so, and bookmarks of all that are
    measured. `place` tells where it lies, or would; None for nowhere. `make` makes it and gives it. It raises OSError
    where it cannot: then the run goes on without.
    """

    place: Callable[[], Path | None]
    make: Callable[[], Path | None]


NOWHERE = Cache(place=lambda: None, make=lambda: None)


class Records:
    """What was loaded, measured, and tried in vain so far. `opened`: what is known from before; `team`: ranks that
    share what is measured; `found`: Records that another door measured, or why there is none.
    """

    def __init__(
        self, settings: Settings, plan: Plan, opened: Iterable[Candidate] = (), cache: Cache = NOWHERE,
        team: "Team | None" = None, found: Iterable[tuple[Source, Record | MaxactError]] = (),
    ) -> None:  # fmt: skip
        self._settings, self._plan, self._cache, self._team = settings, plan, cache, team
        self._meeting: Path | None = None
        self._prepared: dict[str, Prepared] = {}
        self._records: dict[str, Record] = {}
        self._failures: dict[str, MaxactError] = {}
        self._own: Store | None = None
        self._unkept = ""
        self._notes: dict[tuple[str, str], list[str]] = {}
        for source, result in found:
            if isinstance(result, Record):
                self._records[source.key] = result
            else:
                self._failures[source.key] = result
        for one in opened:
            if one.prepared:
                self._prepared[one.source.key] = one.prepared
            if one.record:
                self._records[one.source.key] = one.record

    def meet(self, folder: Path) -> None:
        """Share them with the other processes of the run, in `folder`."""
        self._meeting = folder

    def obtain(self, source: Source, showing: Showing = nothing_shown) -> Record:
        """The Record of a checkpoint, measured on first use. Raises MaxactError, the same one each time."""
        if source.key in self._failures:
            raise self._failures[source.key]
        if source.key not in self._records:
            try:
                self._records[source.key] = self._load_or_measure(source, showing)
            except BaseException as error:
                self._failures[source.key] = _as_failure(error)
                raise
        return self._records[source.key]

    def known(self, source: Source) -> Record | None:
        """The Record where this run has one already; never measures."""
        if source.key not in self._records and (shared := self._shared(source, "safetensors")) and shared.is_file():
            self._records[source.key] = load(shared)
        return self._records.get(source.key)

    def failure(self, source: Source) -> str | None:
        """Why it could not be had, where this run tried; settings are still to be worded."""
        if failure := self._failures.get(source.key):
            return marked(failure)
        told = self._shared(source, "failed")
        return told.read_text(encoding="utf-8") if told and told.is_file() else None

    def is_settled(self, source: Source) -> bool:
        """Whether it is there, or failed to be: asking for it measures nothing."""
        return self.known(source) is not None or self.failure(source) is not None

    def _load_or_measure(self, source: Source, showing: Showing) -> Record:
        if source.is_record:
            return load(source.path)
        if self._meeting is None:
            with until_safe(resumption := _resumption(self._settings, self._cache, source)):
                return self._measure(source, showing, resumption)
        meeting = self._meeting
        place, told, begun = (meeting / f"{source.file}.{suffix}" for suffix in ("safetensors", "failed", "begun"))

        def look() -> Record | None:
            if (known := self.known(source)) is not None:
                return known
            if told.is_file():
                raise MeasureError(told.read_text(encoding="utf-8"))
            # whoever began had this lock and left it without a word; what was gained until then is gone on from
            if begun.is_file() and not begun.stat().st_size:
                died = MeasureError("the process that measured it died\n  see what it was killed for; memory, mostly")
                write_whole(told, marked(died).encode())
                raise died
            with sharing(meeting):
                begun.write_bytes(b"")
            return None

        def tell(error: BaseException) -> None:
            try:
                write_whole(told, marked(_as_failure(error)).encode())
            except OSError:
                begun.unlink(missing_ok=True)  # whoever comes next finds out by itself

        with until_safe(resumption := _resumption(self._settings, self._cache, source, begun)):
            with sharing(meeting):
                lock = locked(meeting / f"{source.file}.lock")
            return once(
                lock, look=look, make=lambda: self._measure(source, showing, resumption),
                put=lambda record: _leave(record, place), tell=tell,
            )  # fmt: skip

    def _measure(self, source: Source, showing: Showing, resumption: Resumption | None) -> Record:
        """What was measured and cannot be written is judged all the same, and `unsaved`."""
        prepared, store, rules = self._prepared.pop(source.key, None), self._store(), self._plan.rules(source)
        record = measure_source(source, self._settings, rules, prepared, store, showing, self._team, resumption)
        reasons = [store.unkept] if store and store.unkept and self._settings.cache else []
        try:
            if rules and self._settings.save:
                save_record(record, self._settings, source, rules)
            if rules and self._settings.hunt_out:
                save_finds(record, self._settings, source)
        except InputError as error:
            reasons.append(marked(error))
        self._note(source, "unsaved", reasons)
        self._note(source, "resumed", [resumption.remark] if resumption and resumption.remark else [])
        return record

    @property
    def unsaved(self) -> list[str]:
        """Why what a run was asked to write of its Records could not be, each reason once."""
        return list(dict.fromkeys(reason for _, reason in self._noted("unsaved")))

    @property
    def resumed(self) -> list[str]:
        """What measurements of this run went on from, and why others did not."""
        return [f"{source.name}: {remark}" if source.name else remark for source, remark in self._noted("resumed")]

    def _note(self, source: Source, kind: str, words: list[str]) -> None:
        """Something to tell of a measurement, whichever process of the run made it."""
        if words:
            self._notes[source.key, kind] = words
            if told := self._shared(source, kind):
                with sharing(told.parent):
                    write_whole(told, json.dumps(words).encode())

    def _noted(self, kind: str) -> Iterator[tuple[Source, str]]:
        for source in (*(subject.source for subject in self._plan.subjects), *self._plan.baselines):
            told = self._shared(source, kind)
            shared = json.loads(told.read_bytes()) if told and told.is_file() else ()
            yield from ((source, words) for words in self._notes.get((source.key, kind), shared))

    @property
    def unkept(self) -> str:
        """Why Records of several checkpoints are not kept for the next run, or not all of them; empty where they are,
        and of a run that keeps none.
        """
        own = None if self._settings.cache else self._store()
        return self._unkept or (own.unkept.partition("\n")[0] if own else "")

    def _store(self) -> Store | None:
        apart = checkpoints_of([*(subject.source for subject in self._plan.subjects), *self._plan.baselines])
        if self._settings.cache:
            return Store(Path(self._settings.cache), apart)
        if self._own is None and self._plan.measures_several and not self._unkept:
            try:
                folder = self._cache.make()
                if folder and not inside_checkpoint(folder, apart):
                    self._own = Store(folder, apart, asked=False)
            except InputError as error:
                self._unkept = first_line(error)
            except OSError as error:
                place = Path(str(error.filename)).parent
                self._unkept = f"the cache of pytest cannot be written in {place} ({error.strerror})"
        return self._own

    def _shared(self, source: Source, suffix: str) -> Path | None:
        """Where the processes of the run put a Record, or why there is none."""
        return self._meeting / f"{source.file}.{suffix}" if self._meeting else None


def _resumption(settings: Settings, cache: Cache, source: Source, told: Path | None = None) -> Resumption | None:
    """Where a measurement goes on if it is killed: where Records are kept, else in the cache of pytest; None where
    nothing can be kept, or shall be.
    """
    folder = Path(settings.cache) if settings.cache else cache.place()
    if settings.resume == "off" or folder is None or inside_checkpoint(folder, checkpoints_of([source])):
        return None
    return Resumption(folder, told=told, make=None if settings.cache else cache.make)


def _leave(record: Record, place: Path) -> None:
    """A Record for the other processes. Raises MeasureError where there is no room for it."""
    try:
        save(record, place)
    except InputError as error:
        if isinstance(error.__cause__, OSError):
            raise MeasureError(unshared(place.parent, error.__cause__)) from error
        raise


def _as_failure(error: BaseException) -> MaxactError:
    """What every check is told that needs what could not be measured: of a timeout, or a fault of ours, its first line.
    It is not tried again.
    """
    return (
        error
        if isinstance(error, MaxactError)
        else MeasureError(f"the measurement ended in {type(error).__name__}: {first_line(error)}")
    )
