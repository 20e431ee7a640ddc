"""Ranks of one process, each a thread: what they say goes over a board in memory, and states from hand to hand."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue
from typing import Any

import pytest
import torch
import torch.distributed as dist

from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.state import state_of
from pytest_maxact.measure.ranks import together
from pytest_maxact.measure.ranks.board import Board
from pytest_maxact.measure.ranks.life import Life
from pytest_maxact.measure.ranks.place import Place
from pytest_maxact.measure.ranks.team import Team

PATIENCE = 60.0


def teams(size: int, board: Board | None = None, life: Callable[[Place, Board], Life] = Life) -> list[Team]:
    """The ranks of a run, not yet alive."""
    board = board or Board(dist.HashStore())
    places = [Place(rank=rank, size=size, local=rank) for rank in range(size)]
    return [Team(place, board, life(place, board)) for place in places]


def side_by_side(size: int, work: Callable[[Team], Any], patch: pytest.MonkeyPatch) -> list[Any]:
    """What `work` gives on every rank, or what it raised."""
    here = threading.local()
    wires: dict[tuple[int, int], Queue[Any]] = defaultdict(Queue)

    @contextmanager
    def connected(place: Place, name: str) -> Iterator[None]:
        yield

    patch.setattr(together, "connected", connected)
    patch.setattr(together, "send", lambda state, rank: wires[here.rank, rank].put(state))
    patch.setattr(together, "receive", lambda rank: wires[rank, here.rank].get(timeout=PATIENCE))
    given: list[Any] = [None] * size

    def ran(team: Team) -> None:
        here.rank = team.place.rank
        try:
            given[team.place.rank] = work(team)
        except Exception as error:
            given[team.place.rank] = error

    threads = [threading.Thread(target=ran, args=(team,), daemon=True) for team in teams(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return given


def same_state(one: Observer, other: Observer) -> None:
    """Two observers hold the same, but for the last bits of sums over other batches in turn, and for what INT-8 costs
    samples, of which several processes tell nothing.
    """
    ours, theirs = (
        {name: entry for name, entry in state_of(seen).items() if not name.startswith("losses/")}
        for seen in (one, other)
    )
    assert ours.keys() == theirs.keys()
    for name, entry in theirs.items():
        value = ours[name].value
        if name.endswith("/numbers"):  # float64 sums over other batches in turn differ in their last bits
            assert torch.allclose(value, entry.value, rtol=1e-12, atol=0, equal_nan=True), name
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, entry.value), name
        else:
            assert value == entry.value, name
