"""Memory under ranks: those of one machine share what is free there, each plans with its part, and all cut alike."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from pytest_maxact.checkpoint.placement.rooms import GIB
from pytest_maxact.errors import InputError
from pytest_maxact.measure import assist
from pytest_maxact.measure.planning import refused_ways
from pytest_maxact.measure.prepare import prepare
from pytest_maxact.measure.ranks.board import Board
from pytest_maxact.measure.ranks.place import Place
from pytest_maxact.measure.ranks.room import rooms_for
from pytest_maxact.numbers.ways import AUTO, STREAMED
from pytest_maxact.settings.settings import Settings
from tests.support.ranks import teams

MANY = 10**9
"""Ranks that no machine has memory for."""


@pytest.fixture
def settings(checkpoint: Path, corpus: Path) -> Settings:
    return Settings(model=str(checkpoint), corpus=str(corpus), device="cpu")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two, of 8 GiB each."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (8 * GIB, 8 * GIB))


def launched(patch: pytest.MonkeyPatch, beside: int, rank: int = 0) -> None:
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": beside, "LOCAL_WORLD_SIZE": beside}
    for name, value in {**told, "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}.items():
        patch.setenv(name, str(value))


def free_gpus(device: str, here: Place | None) -> list[int]:
    return [room.free // GIB for room in rooms_for(device, here) if not room.is_host]


@pytest.mark.parametrize(
    ("device", "here", "free"),
    [
        ("cuda:1", None, [8, 8]),
        ("cuda:1", Place(rank=1, size=2, local=1, beside=2), [4, 8]),
        ("cuda:0", Place(rank=1, size=2, local=1, beside=2), [4, 4]),
        ("cuda:0", Place(rank=0, size=4, local=0, beside=4), [2, 2]),
        ("split", Place(rank=0, size=2, local=0, beside=2), [4, 4]),
        ("cuda:0", Place(rank=2, size=4, local=0, beside=1), [8, 8]),
    ],
)
@pytest.mark.usefixtures("gpus")
def test_a_gpu_that_a_rank_has_to_itself_is_not_shared(device: str, here: Place | None, free: list[int]) -> None:
    assert free_gpus(device, here) == free


def test_a_plan_counts_the_ranks_of_its_machine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = prepare(settings).placement
    launched(monkeypatch, MANY)
    shared = prepare(settings).placement
    assert alone is not None
    assert shared is not None
    assert alone.against == ""
    assert "GiB are needed on cpu, 0.00 GiB are free there" in shared.against
    assert f"shared by {MANY} ranks" in shared.against


def test_a_rank_without_room_says_so_before_anything_is_loaded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(dist.HashStore())
    leader, other = teams(2, board)
    leader.announce(settings)
    with leader.measuring(settings):
        leader.order("end", code=1)
    monkeypatch.setattr(assist, "open_team", lambda place: other)
    monkeypatch.setattr(assist, "load", lambda *given: pytest.fail("loaded"))
    launched(monkeypatch, MANY, rank=1)
    assert assist.follow(other.place) == 1
    assert f"shared by {MANY} ranks" in (board.heard("failed/2/1") or "")


def test_ranks_do_not_find_out_each_for_itself_how_many_tokens_a_batch_has(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    auto = Settings(model=settings.model, corpus=settings.corpus, device="cpu", batch_tokens=AUTO)
    assert prepare(auto).batch_tokens > 0
    launched(monkeypatch, 2)
    with pytest.raises(InputError, match=r"auto: the shares of ranks must be cut alike .*\n  give a number"):
        prepare(auto)


def test_ranks_choose_no_way_that_they_do_not_share(settings: Settings) -> None:
    assert STREAMED not in refused_ways(False, settings)
    assert "torchrun" in refused_ways(False, settings, shared=True)[STREAMED]
