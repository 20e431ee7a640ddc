"""What of a run needs code that comes with the weights, as an errand for a process apart: opening a checkpoint, and
measuring it.
"""

import json
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter

from pytest_maxact.errors import InputError, MeasureError, marked
from pytest_maxact.gate import apart, measuring
from pytest_maxact.gate import candidate as candidates
from pytest_maxact.gate.candidate import Candidate
from pytest_maxact.gate.measuring import Showing
from pytest_maxact.gate.sources import Source
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.measure.resume.resumption import Resumption, until_safe
from pytest_maxact.measure.store import Store
from pytest_maxact.record.file import load, save
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings

if TYPE_CHECKING:
    from pytest_maxact.measure.prepared import Prepared
    from pytest_maxact.measure.ranks.team import Team

_ERRAND, _OPENED, _RECORD = "errand.json", "opened.json", "measured.safetensors"
_UNKEPT, _RESUMED = "unkept.txt", "resumed.txt"
_LEFT = ("prepared", "record")
"""Of a candidate, what stays in its process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """`rules`: None for a baseline, and where a checkpoint is only to be opened. `bookmarks`: where a measurement that
    is killed leaves them, and `gained` what is told of each.
    """

    source: Source
    run: Settings
    measures: bool
    rules: Ruleset | None = None
    cache: str | None = None
    bookmarks: str | None = None
    gained: str | None = None


def open_source(source: Source, run: Settings, like: "Prepared | None" = None, team: "Team | None" = None) -> Candidate:
    """A checkpoint opened, in a process apart where code comes with it that is trusted. Raises InputError."""
    if source.is_record or not run.trust_remote_code:
        return candidates.open_source(source, run, like, team)
    with apart.room() as folder:
        try:
            _send(folder, Errand(source=source, run=run, measures=False))
        except MeasureError as error:
            raise InputError(marked(error)) from error
        return _candidate(json.loads((folder / _OPENED).read_text(encoding="utf-8")))


def measure_source(
    source: Source, run: Settings, rules: Ruleset | None, prepared: "Prepared | None", store: Store | None,
    showing: Showing, team: "Team | None" = None, resumption: Resumption | None = None,
) -> Record:  # fmt: skip
    """A checkpoint measured, in a process apart where code comes with it that is trusted. Raises MaxactError."""
    if not run.trust_remote_code:
        return measuring.measure_source(source, run, rules, prepared, store, showing, team, resumption)
    progress = showing()
    cache = str(store.folder) if store else None
    try:
        with apart.room() as folder:
            errand = Errand(source=source, run=run, measures=True, rules=rules, cache=cache)
            if resumption:
                gained = str(resumption.told) if resumption.told else None
                errand = replace(errand, bookmarks=str(resumption.folder), gained=gained)
            _send(folder, errand, progress)
            if resumption and (told := folder / _RESUMED).is_file():
                resumption.remark = told.read_text(encoding="utf-8")
            if store and (told := folder / _UNKEPT).is_file():
                store.unkept = told.read_text(encoding="utf-8")
            return load(folder / _RECORD)
    finally:
        if progress:
            progress.close()


def run_apart(folder: str, parent: int) -> None:
    """In the process apart."""
    place = Path(folder)
    apart.told_apart(place, parent, lambda: _do(place))


def _send(folder: Path, errand: Errand, tick: apart.Tick | None = None) -> None:
    plain = TypeAdapter(Errand).dump_python(errand, mode="json")
    (folder / _ERRAND).write_text(json.dumps(plain), encoding="utf-8")
    apart.run(__name__, folder, tick)


def _do(folder: Path) -> None:
    errand = TypeAdapter(Errand).validate_json((folder / _ERRAND).read_bytes())
    if not errand.measures:
        opened = candidates.open_source(errand.source, errand.run)
        (folder / _OPENED).write_text(json.dumps(_plain(opened)), encoding="utf-8")
        return
    store = Store(Path(errand.cache)) if errand.cache else None
    ticking = apart.ticking(folder)
    gained = Path(errand.gained) if errand.gained else None
    resumption = Resumption(Path(errand.bookmarks), told=gained) if errand.bookmarks else None
    with until_safe(resumption):
        record = measuring.measure_source(
            errand.source, errand.run, errand.rules, None, store, lambda: _Told(ticking), None, resumption
        )
        save(record, folder / _RECORD)
    if resumption and resumption.remark:
        (folder / _RESUMED).write_text(resumption.remark, encoding="utf-8")
    if store and store.unkept:
        (folder / _UNKEPT).write_text(store.unkept, encoding="utf-8")


class _Told:
    """A display that another process shows."""

    def __init__(self, tick: apart.Tick) -> None:
        self._tick = tick

    def __call__(self, what: str, done: int, total: int, largest: float) -> None:
        self._tick(what, done, total, largest)

    def close(self) -> None:
        """Nothing to put back."""


@cache
def _kept() -> dict[str, TypeAdapter[Any]]:
    """What of a candidate is handed over, field by field."""
    hints = get_type_hints(Candidate, localns={"Prepared": object})
    return {one.name: TypeAdapter(hints[one.name]) for one in fields(Candidate) if one.name not in _LEFT}


def _plain(candidate: Candidate) -> dict[str, Any]:
    return {name: kind.dump_python(getattr(candidate, name), mode="json") for name, kind in _kept().items()}


def _candidate(plain: dict[str, Any]) -> Candidate:
    return Candidate(**{name: kind.validate_json(json.dumps(plain[name])) for name, kind in _kept().items()})
