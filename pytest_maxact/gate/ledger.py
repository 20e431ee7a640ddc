"""What the gate itself found of its items, written down by every process of the run before pytest hears of it: what
another plugin makes of a report, or which items it keeps from running, changes nothing here.

Guards that a run which asked for a gate is told from one that was kept from it: an item that is not in the ledger was
not judged, whatever is reported of it.
"""

import json
import os
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pytest_maxact.errors import MeasureError
from pytest_maxact.gate.meeting import sharing


class Found(Enum):
    """What became of an item, the better before the worse."""

    HELD = "held"
    WAIVED = "waived"
    UNKNOWN = "could not be judged"
    BREACH = "does not hold"

    @property
    def stands_in_the_way(self) -> bool:
        return self in (Found.UNKNOWN, Found.BREACH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What was found of an item, in words."""

    found: Found
    words: str = ""


class Ledger:
    """The entries of this process, and those of the others that it meets in a folder; the worst counts where an item
    ran twice.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._excused: set[str] = set()
        self._changed: dict[str, str] = {}
        self._folder: Path | None = None
        self._read: dict[Path, int] = {}

    def meet(self, folder: Path) -> None:
        """Share it with the other processes of the run, in `folder`."""
        self._folder = folder

    def note(self, nodeid: str, found: Found, words: str = "") -> None:
        """Write down what was found of an item, at once: a process that dies after it has told so. Raises MeasureError
        where the others cannot be told.
        """
        self._take({"item": nodeid, "found": found.value, "words": words})

    def excuse(self, nodeids: Iterable[str]) -> None:
        """Write down items that the command line left out; where others cannot be told, they count as not judged."""
        with suppress(MeasureError):
            self._take({"excused": sorted(nodeids)})

    def change(self, nodeid: str, said: str) -> None:
        """Write down that a report said something else of an item than the gate had found."""
        self._take({"changed": nodeid, "said": said})

    def entry(self, nodeid: str) -> Entry | None:
        if nodeid not in self._entries:
            self._look()
        return self._entries.get(nodeid)

    @property
    def entries(self) -> Mapping[str, Entry]:
        self._look()
        return self._entries

    @property
    def excused(self) -> Set[str]:
        self._look()
        return self._excused

    @property
    def changed(self) -> Mapping[str, str]:
        """What reports said that were changed, by item."""
        self._look()
        return self._changed

    def _take(self, line: Mapping[str, object]) -> None:
        self._read_in(line)
        if self._folder:
            with sharing(self._folder), self._own.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    @property
    def _own(self) -> Path:
        assert self._folder
        return self._folder / f"ledger-{os.getpid()}.jsonl"

    def _look(self) -> None:
        """Read what other processes wrote since: whole lines, for one that died may have left part of its last."""
        for path in self._folder.glob("ledger-*.jsonl") if self._folder else ():
            if path == self._own:
                continue
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                whole, end, _ = file.read().rpartition(b"\n")
            self._read[path] = self._read.get(path, 0) + len(whole) + len(end)
            for line in whole.splitlines():
                self._read_in(json.loads(line))

    def _read_in(self, line: Mapping[str, object]) -> None:
        if "item" in line:
            name, new = str(line["item"]), Entry(found=Found(line["found"]), words=str(line["words"]))
            old = self._entries.get(name)
            if old is None or _RANK[new.found] > _RANK[old.found]:
                self._entries[name] = new
        elif "changed" in line:
            self._changed.setdefault(str(line["changed"]), str(line["said"]))
        else:
            excused = line["excused"]
            assert isinstance(excused, list)
            self._excused.update(excused)


_RANK = {found: rank for rank, found in enumerate(Found)}


def unaccounted(ids: Iterable[str], ledger: Ledger, broken: Set[str] = frozenset()) -> tuple[str, ...]:
    """Items that were neither judged nor left out on the command line; `broken`: of those that something else broke
    off, which are told as such.
    """
    known = ledger.entries.keys() | ledger.excused | broken
    return tuple(name for name in ids if name not in known)
