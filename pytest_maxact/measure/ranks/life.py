"""Whether the other ranks still live: every rank says so each second, beside its work, and those of one machine look
for each other's process.

Guards that a rank which was killed, crashed or hangs is found, by its number, and nobody waits for it for good.
"""

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from pytest_maxact.measure.ranks.board import JOINING, Board
from pytest_maxact.measure.ranks.place import Place, is_running, machine

EVERY = 1.0
"""Seconds between two signs of life."""
SILENT = 60.0
"""Seconds of silence after which a rank counts as dead."""


@dataclass(slots=True)
class _Seen:
    """The last sign of life of a rank, and when it was noticed here."""

    sign: str | None
    when: float


class Life:
    """Signs of life, given and seen. `begin` before anything is asked."""

    def __init__(self, place: Place, board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        self._place, self._board, self._clock = place, board, clock
        self._ended = threading.Event()
        self._seen: dict[int, _Seen] = {}

    def begin(self, board: Board) -> None:
        """Say who this is, and go on living. `board`: one for this alone, so that nobody is kept waiting."""
        who = {"process": os.getpid(), "machine": machine(), "host": platform.node()}
        self._board.say(f"who/{self._place.rank}", json.dumps(who))
        threading.Thread(target=self._beat, args=(board,), daemon=True).start()

    def end(self) -> None:
        self._ended.set()

    def leave(self, why: str) -> None:
        """Say that this rank ends because it was told to, not by a fault of its own."""
        with suppress(ConnectionError):
            self._board.say(f"left/{self._place.rank}", why)

    def lost(self, ranks: Iterable[int]) -> str | None:
        """Which of these ranks is dead, and what is known of that; None where all live. One that was told to end is
        named only where no other is dead.
        """
        dead = {rank: why for rank in ranks if (why := self._why(rank))}
        if not dead:
            return None
        first = min(dead, key=lambda rank: (self._board.heard(f"left/{rank}") is not None, rank))
        return f"rank {first} of {self._place.size} {dead[first]}"

    def process_of(self, rank: int) -> int | None:
        """Its process, where that is one of this machine."""
        told = self._board.heard(f"who/{rank}")
        who = json.loads(told) if told else {}
        return int(who["process"]) if who.get("machine") and who["machine"] == machine() else None

    def _why(self, rank: int) -> str:
        """Why a rank is dead; empty where it is not."""
        now, sign = self._clock(), self._board.heard(f"alive/{rank}")
        told = self._board.heard(f"who/{rank}")
        seen = self._seen.setdefault(rank, _Seen(None, now))
        if sign != seen.sign:
            seen.sign, seen.when = sign, now
        quiet = now - seen.when
        if told is None:
            return f"did not join within {quiet:.0f} s" if quiet > JOINING else ""
        who, process = json.loads(told), self.process_of(rank)
        what = f"(process {who['process']} on {who['host']})"
        if process is not None and not is_running(process):
            return f"{what} died without a word: killed, for memory mostly, or crashed"
        return f"{what} has not been heard of for {quiet:.0f} s" if quiet > SILENT else ""

    def has_joined(self, rank: int) -> bool:
        return self._board.heard(f"who/{rank}") is not None

    def _beat(self, board: Board) -> None:
        count = 0
        with suppress(ConnectionError):
            while not self._ended.wait(EVERY):
                count += 1
                board.say(f"alive/{self._place.rank}", str(count))
