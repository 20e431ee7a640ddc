"""The ranks of a run, as each of them sees the others: what rank 0 orders, what the others say to it, and how they come
together to exchange what they saw.

Rank 0 opens, measures, judges and reports as if it were alone; the others follow its orders, one after another, and end
with its exit code. Guards that a rank which fails or dies fails the measurement, by its number and with its cause.
"""

import json
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType
from typing import Any

from pydantic import TypeAdapter

from pytest_maxact.errors import BrokenOffError, InputError, MaxactError, MeasureError, first_line, marked
from pytest_maxact.measure.ranks.board import Board, store_of_the_run
from pytest_maxact.measure.ranks.life import Life
from pytest_maxact.measure.ranks.place import Place, is_running
from pytest_maxact.settings.settings import Settings

_ASK = 0.02
"""Seconds between two looks at the board."""
_EVIDENCE = 3.0
"""Seconds in which it shows why a launcher ends this rank."""
_AFTERWARDS = 10.0
"""Seconds that the others leave rank 0 to end first."""
END = "end"
PLANNED = "planned"
"""Where all meet before one of them loads: each has looked at what memory is free for all."""


def plain(settings: Settings, device: str | None = None) -> dict[str, Any]:
    """Settings as JSON holds them, with another device where one is given."""
    settings = replace(settings, device=device or settings.device)
    found: dict[str, Any] = TypeAdapter(Settings).dump_python(settings, mode="json")
    return found


def settings_from(told: Mapping[str, Any]) -> Settings:
    """The reverse of `plain`."""
    return TypeAdapter(Settings).validate_json(json.dumps(told))


class AbandonedError(Exception):
    """Rank 0 has gone on: what this rank does for it is not wanted any more."""


class Team:
    """The ranks, from one of them. Open it by `open_team`."""

    def __init__(self, place: Place, board: Board, life: Life) -> None:
        self.place = place
        self._board, self._life = board, life
        self._order = 0
        self._measuring = False
        self._broken: str | None = None
        self.goes_on = False
        """Whether what was measured last is neither where it belongs nor failed: if it is broken off it can go on."""
        self.device: str | None = None
        """The device that was asked for, of which each rank may have another."""

    @property
    def others(self) -> list[int]:
        return [rank for rank in range(self.place.size) if rank != self.place.rank]

    # rank 0

    def order(self, what: str, **details: Any) -> None:
        """Have the others do something; what they do for an earlier order is abandoned, and what they keep of it to go
        on from, unless it was broken off.
        """
        self._order += 1
        details["goes_on"] = self.goes_on
        self._board.say(f"order/{self._order}", json.dumps({"what": what, **details}))

    def announce(self, settings: Settings) -> None:
        """Have the others prepare what will be measured under these settings, while this rank does."""
        self.order("prepare", settings=plain(settings, self.device))

    @contextmanager
    def measuring(self, settings: Settings, bookmarks: Mapping[str, str] | None = None) -> Iterator[None]:
        """While the others take part in a measurement, and keep `bookmarks` as they are told. Raises MeasureError where
        one of them fails, and BrokenOffError where one dies.
        """
        self.order("measure", settings=plain(settings, self.device), bookmarks=bookmarks)
        self.goes_on = True
        self.check()
        self._measuring = True
        try:
            yield
        finally:
            self._measuring = False

    def finish(self, code: int) -> None:
        """The end of the run: the others end with this exit code."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with suppress(ConnectionError):
            self.order(END, code=code)
        self._life.end()

    def watch_for_the_launcher(self) -> None:
        """Where the launcher ends this rank because another died, what is measured, or is to be, fails with that for
        its cause, and is reported; the launcher leaves some seconds for it.
        """

        def ended(number: int, frame: FrameType | None) -> None:
            if self._broken:
                return
            self._broken = _cause(self._life, self.place, self.others)
            if not self._broken:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            elif self._measuring:
                raise self._failure(self._broken)

        signal.signal(signal.SIGTERM, ended)

    # the others

    def next_order(self) -> dict[str, Any]:
        """What rank 0 wants next. Raises ConnectionError where rank 0 is dead."""
        self._order += 1
        while True:
            if (told := self._board.heard(f"order/{self._order}")) is not None:
                found: dict[str, Any] = json.loads(told)
                return found
            self._require_leader()
            time.sleep(_ASK)

    def fail(self, error: BaseException) -> None:
        """Tell rank 0 why an order could not be carried out."""
        told = [words_of(error), isinstance(error, BrokenOffError)]
        self._board.say(f"failed/{self._order}/{self.place.rank}", json.dumps(told))

    def end_with_the_launcher(self) -> None:
        def ended(number: int, frame: FrameType | None) -> None:
            self._life.leave("the launcher ended it")
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

        signal.signal(signal.SIGTERM, ended)

    def let_rank_0_end_first(self) -> None:
        """A launcher ends all ranks as soon as one ends with a failure, and rank 0 is the one that reports."""
        self._life.end()
        until = time.monotonic() + _AFTERWARDS
        with suppress(ConnectionError):
            process = self._life.process_of(0)
            while process and is_running(process) and time.monotonic() < until:
                time.sleep(_ASK)

    def _require_leader(self) -> None:
        if why := self._life.lost([0]):
            raise ConnectionError(why)

    # all

    def check(self) -> None:
        """Between two steps of the work. Raises MeasureError on rank 0 where another failed, BrokenOffError where one
        died; on others AbandonedError where rank 0 has gone on, and ConnectionError where it is dead.
        """
        if self._broken:
            raise self._failure(self._broken)
        if not self.place.leads:
            if self._board.heard(f"order/{self._order + 1}") is not None:
                raise AbandonedError
            return self._require_leader()
        try:
            for rank in self.others:
                if told := self._board.heard(f"failed/{self._order}/{rank}"):
                    words, is_broken_off = json.loads(told)
                    kind = BrokenOffError if is_broken_off else MeasureError
                    raise kind(f"rank {rank} of {self.place.size} could not measure its share: {words}")
            why = self._life.lost(self.others)
        except ConnectionError as error:
            why = f"the store by which {self.place.size} ranks know of each other is gone ({error})"
        if why:
            raise self._failure(why)
        return None

    def meet(self, name: str, words: str = "") -> str:
        """Wait until every rank is here, whatever it saw; gives this meeting's name among all of the run. `words`: what
        all must say alike, of those who say something. Raises MeasureError where they do not.
        """
        name = f"{self._order}/{name}"
        self.check()
        self._board.say(f"here/{name}/{self.place.rank}", words)
        for rank in self.others:
            while (told := self._board.heard(f"here/{name}/{rank}")) is None:
                self.check()
                time.sleep(_ASK)
            if words and told and told != words:
                raise MeasureError(
                    f"{self.place} and rank {rank} differ in {name.partition('/')[2]}\n"
                    "  measure all of them with the same checkpoint, settings and versions"
                )
        return name

    def _failure(self, why: str) -> BrokenOffError:
        self._broken = why
        return BrokenOffError(f"{why}\n  what the others saw is no measurement; see what ended it, and measure again")


def open_team(place: Place) -> Team:
    """Join the others. Raises InputError where they cannot be reached."""
    try:
        board = Board(store_of_the_run())
        life = Life(place, board)
        life.begin(Board(store_of_the_run()))
    except ConnectionError as error:
        raise InputError(
            f"{place} cannot reach the others ({error})\n"
            "  see that MASTER_ADDR and MASTER_PORT are those of the launcher, and that every rank was started"
        ) from error
    team = Team(place, board, life)
    team.watch_for_the_launcher() if place.leads else team.end_with_the_launcher()
    return team


def _cause(life: Life, place: Place, others: Sequence[int]) -> str | None:
    """Why a launcher ends this rank, as far as another that is dead is the reason."""
    until = time.monotonic() + _EVIDENCE
    with suppress(ConnectionError):
        while time.monotonic() < until:
            if why := life.lost(others):
                return why
            time.sleep(_ASK)
        if missing := [rank for rank in others if not life.has_joined(rank)]:
            return f"rank {missing[0]} of {place.size} ended before it joined"
    return None


def words_of(error: BaseException) -> str:
    """Why a rank failed, as rank 0 tells it: three lines at most, settings still to be worded."""
    return marked(error) if isinstance(error, MaxactError) else f"{type(error).__name__}: {first_line(error)}"
