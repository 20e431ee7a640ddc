"""Which checkpoints and Records a run is about: those under test, and the baselines they are compared with. No
torch.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from pytest_maxact.checkpoint.no_model import of_adapters
from pytest_maxact.errors import InputError, setting
from pytest_maxact.judge.series.order import Member, in_order, is_pattern, short_name
from pytest_maxact.settings.settings import Settings
from pytest_maxact.settings.userfiles import kind_of, reachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a checkpoint's figures come from: a `model` to measure or a `record` to load, under a name that is unique
    in the run.

    `name` is empty for the only checkpoint under test. `step`: its training step in a series, where its name tells one.
    `weights`: the set of weights that was chosen; of a baseline, where it has such a file.
    """

    name: str
    path: str
    is_record: bool
    step: int | None = None
    revision: str | None = None
    weights: str | None = None
    made_from: str | None = None
    """The source of a checkpoint under test, where one was named."""

    @property
    def key(self) -> str:
        """One checkpoint in one role: a path that is under test and a baseline too is opened twice, for different
        ends.
        """
        return f"{self.name}|{self.path}"

    @property
    def file(self) -> str:
        """A file name for what the processes of a run share of it."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:16]

    def settings(self, run: Settings) -> Settings:
        """The run's settings for this checkpoint alone."""
        place: dict[str, Any] = (
            {"replay": self.path, "model": None} if self.is_record else {"model": self.path, "replay": None}
        )
        return replace(run, **place, revision=self.revision, weights=self.weights, source=self.made_from)


def sources_of(settings: Settings, records: Sequence[str] = ()) -> list[Source]:
    """The checkpoints, or Records, under test, in the order of their steps. `records`: the files of a series, where
    they are named one by one.
    """
    given, is_record = settings.replay or settings.model or "", settings.replay is not None
    reachable(Path(given))
    if len(records) > 1:
        members = in_order([Path(record) for record in records], "the list")
    elif not is_pattern(given):
        one = Source(
            name="", path=given, is_record=is_record, revision=settings.revision, weights=settings.weights,
            made_from=settings.source,
        )  # fmt: skip
        return [one]
    else:
        members = find(given, records=is_record)
    return [
        Source(
            name=one.name,
            path=one.path,
            is_record=is_record,
            step=one.step,
            weights=settings.weights,
            made_from=settings.source,
        )
        for one in members
    ]


def baselines_of(settings: Settings, taken: set[str]) -> tuple[Source, ...]:
    """The baselines, each under its short name, or under its path where that is taken: a name stands for one checkpoint
    of the run.
    """
    return tuple(_compared_with(given, "baseline", settings, taken) for given in settings.baseline)


def origin_of(settings: Settings, taken: set[str]) -> Source | None:
    """The source that what is under test was made from, likewise; None where none was named."""
    return _compared_with(settings.source, "source", settings, taken) if settings.source else None


def _compared_with(given: str, role: str, settings: Settings, taken: set[str]) -> Source:
    asked = f"{setting(role)} {given}"
    path = reachable(Path(given))
    is_record = path.is_file()
    if is_pattern(given):
        raise InputError(
            f"{asked}: is a pattern, and a {role} is one Record or one checkpoint\n"
            "  give the path of one, or several such options"
        )
    if not is_record and (settings.replay or path.suffix == ".safetensors"):
        beside = f"; beside {setting('replay')} a {role} is a Record's file" if settings.replay else ""
        there = f"is {kind_of(path)}" if kind_of(path) else "no such file"
        raise InputError(f"{asked}: {there}{beside}\n  a Record comes from {setting('save')} FILE")
    name, revision = short_name(path), None
    if not path.exists() and "@" in given:
        given, _, revision = given.partition("@")
        name = f"{Path(given).name}@{revision[:12]}"
    free = [candidate for candidate in (name, str(path), str(path.resolve())) if candidate not in taken]
    if not free:
        raise InputError(f"{asked}: is given more than once\n  give it once")
    name = free[0]
    taken.add(name)
    chosen = role == "baseline" and settings.weights and (Path(given) / settings.weights).is_file()
    weights = settings.weights if chosen else None
    return Source(name=name, path=given, is_record=is_record, revision=revision, weights=weights)


def find(pattern: str, *, records: bool = False) -> list[Member]:
    """The folders that match a pattern, or the files where Records are looked for, in the order of their steps.

    Raises InputError where nothing matches, where a match is no such folder or file (nothing is left out of a series
    unsaid), where two have one name, and where steps cannot be told.
    """
    what = "Record" if records else "folder"
    matches = _matches(pattern)
    if not matches:
        raise InputError(
            f"no {what} matches {pattern}\n  quote the pattern, and see that it leads to "
            + (f"files written by {setting('save')}" if records else "folders written by save_pretrained")
        )
    strangers = [
        (path, reason) for path in matches if (reason := _no_record(path) if records else _no_checkpoint(path))
    ]
    if strangers:
        path, reason = strangers[0]
        others = ", ".join(other.name for other, _ in strangers[1:6]) + (", ..." if len(strangers) > 6 else "")
        raise InputError(
            f"{path} matches {pattern} and is no {'Record' if records else 'checkpoint'}"
            f"{f' (nor is {others})' if others else ''}: {reason}"
        )
    return in_order(matches, pattern)


def _matches(pattern: str) -> list[Path]:
    """Everything that a pattern matches, what lies behind no link included. Raises InputError for a link or a folder on
    the way that leads nowhere, behind which members may be missing.
    """
    bare = pattern.rstrip("/" + os.sep) or pattern
    ways = [str(way) for way in Path(bare).parents if has_magic(str(way))]
    for folder in (folder for way in ways for folder in glob(way)):
        if os.path.islink(folder) and not os.path.exists(folder):
            raise InputError(f"{folder}, on the way of {pattern}, is a link that leads nowhere\n  {_NARROW}")
        if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):
            raise InputError(f"{folder}, on the way of {pattern}, may not be read\n  {_NARROW}")
    return sorted(Path(match) for match in glob(bare))


def _no_record(path: Path) -> str:
    """Why a match is no file; "" for one."""
    if path.is_file():
        return ""
    return f"{_kind(path)}\n  {_NARROW}"


def _no_checkpoint(path: Path) -> str:
    """Why a match is no checkpoint's folder; "" for one."""
    if not path.is_dir():
        return f"{_kind(path)}\n  {_NARROW}"
    if (path / "config.json").is_file():
        return ""
    return of_adapters(path) or "it has no config.json\n  narrow the pattern, or finish writing the folder"


def _kind(path: Path) -> str:
    return f"it is {kind_of(path) or 'gone'}"


_NARROW = "narrow the pattern, or put it right"
