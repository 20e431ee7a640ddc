"""Bookmarks of a measurement, written while it runs, and taken up by the process that makes the same one next.

Guards. The Record is the one of a measurement that was never killed, to the byte: a bookmark is of whole batches, holds
all of an observer's state, and goes by everything that decides figures. What it holds was checked: none is written once
a model remembers what ran, or its files changed. It costs no more than `SHARE` of the time, by its own measured cost.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from pytest_maxact.errors import MaxactError
from pytest_maxact.measure.observe.left import Left
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.reduction import Held, State
from pytest_maxact.measure.observe.state import restore, state_of
from pytest_maxact.measure.resume.bookmark import Stage, UnusableError, read, write
from pytest_maxact.measure.resume.resumption import Resumption

SHARE = 0.01
"""Of the time of a measurement, what its bookmarks may take."""
NOT_BEFORE = 5.0
"""Seconds; what takes less is measured again."""
_BYTES_PER_SECOND = 2e8
"""What a disk is taken to write before any bookmark was written."""


class Bookmarks:
    """Those of one measurement. `content`: everything that decides its figures, as plain data; `require` raises
    MeasureError where that is so no more; `whose`: which share of its passes this process runs, empty for all.
    """

    def __init__(
        self, resumption: Resumption, content: Mapping[str, Any], require: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic, whose: str = "",
    ) -> None:  # fmt: skip
        self._resumption, self._require, self._clock = resumption, require, clock
        self.whose = whose
        self._key = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
        self._path = resumption.open(self._key)
        self._began, self._spent, self._expected = clock(), 0.0, 0.0
        self._given_up = False
        self._stages: dict[str, Stage] = {}
        self._found: Mapping[str, Stage] = {}
        try:
            self._found = read(self._path, self._key)
        except FileNotFoundError:
            pass
        except UnusableError as error:
            self.remark(f"{self._path} was not gone on from, {error}: all was measured from the beginning")
        except OSError as error:
            self._given_up = True
            self.remark(f"no bookmark is kept in {self._path.parent} ({error.strerror})")

    def remark(self, words: str) -> None:
        """Something that the run is to tell."""
        self._resumption.remark = words

    def follow(self, name: str, observer: Observer, told: Held | None = None) -> "Following":
        """Follow one pass of the measurement."""
        return Following(self, name, observer, told)

    def place(self, name: str) -> Path:
        """Where something lies that belongs to a bookmark and is too large for it."""
        return self._resumption.place(name)

    def beside(self) -> list[Path]:
        """All that lies there."""
        return self._resumption.beside()

    def found(self, name: str) -> Stage | None:
        """What an earlier process left of a pass."""
        return self._found.get(name)

    def passed(self, name: str, stage: Stage) -> None:
        """A pass is complete; what it saw belongs to every bookmark from now on."""
        self._stages[name] = stage

    def offer(
        self, name: str, stage: Callable[[], Stage | None], check: Callable[[], None], seconds: float = 0.0
    ) -> bool:
        """Write a bookmark, if one is due, if there is a stage to be written, and if `check`, which raises
        MeasureError and is taken to need so many `seconds`, finds nothing. Whether it was written.
        """
        begun = self._clock()
        self._expected = self._expected or seconds
        if self._given_up or begun - self._began < NOT_BEFORE or not self._is_due(begun):
            return False
        if (told := stage()) is None:
            return False
        stages = {**self._stages, name: told}
        if not self._spent:
            self._expected = seconds + sum(_size(one.state) for one in stages.values()) / _BYTES_PER_SECOND
            if not self._is_due(begun):
                return False
        try:
            self._resumption.make()
            check()
            self._require()
            write(self._path, self._key, stages)
            self._resumption.written()
        except MaxactError:
            raise
        except Exception as error:
            # no space on the disk, or no memory: the measurement goes on, and what was written before still stands
            self._given_up = True
            self.remark(f"from some point on no bookmark could be written in {self._path.parent} ({error})")
        self._expected = self._clock() - begun
        self._spent += self._expected
        return not self._given_up

    def _is_due(self, now: float) -> bool:
        return self._spent + self._expected <= SHARE * (now - self._began)


class Following:
    """One pass, followed."""

    def __init__(self, bookmarks: Bookmarks, name: str, observer: Observer, told: Held | None) -> None:
        self._bookmarks, self._name, self._observer, self._told = bookmarks, name, observer, told

    def begun(self, left: Left) -> None:
        """Go on where an earlier process was."""
        stage, whole = self._bookmarks.found(self._name), left.tokens
        if stage is None or not left.restore(stage.left):
            return
        restore(self._observer, stage.state, self._told)
        self._bookmarks.remark(
            f"the measurement went on after {whole - left.tokens:,} of {whole:,} tokens{self._bookmarks.whose}"
        )
        self._keep_if_complete(left)

    def ran(self, left: Left, check: Callable[[], None], seconds: float) -> None:
        """A batch ran and counts."""
        self._keep_if_complete(left)
        self._bookmarks.offer(self._name, lambda: self._stage(left), check, seconds)

    def _keep_if_complete(self, left: Left) -> None:
        if left.is_empty:
            self._bookmarks.passed(self._name, self._stage(left))

    def _stage(self, left: Left) -> Stage:
        return Stage(state=state_of(self._observer, self._told), left=left.state())


def _size(state: State) -> int:
    """Bytes of its tensors."""
    return sum(entry.value.nbytes for entry in state.values() if isinstance(entry.value, torch.Tensor))
