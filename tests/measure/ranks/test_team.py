"""What ranks tell each other: orders and failures, who is dead and why, and that nobody waits for a rank that is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

from pytest_maxact.errors import InputError, MeasureError, setting
from pytest_maxact.measure.ranks.board import JOINING, Board
from pytest_maxact.measure.ranks.life import SILENT, Life
from pytest_maxact.measure.ranks.place import Place, is_running, machine, place_of
from pytest_maxact.measure.ranks.team import AbandonedError, Team, plain, settings_from, words_of
from pytest_maxact.settings.settings import Settings
from tests.support.ranks import teams

LAUNCHED = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
SETTINGS = Settings(model="DIR", schemes=("W8A8", "NVFP4"), effect=("FP8",), max_tokens=12)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def board() -> Board:
    return Board(dist.HashStore())


@pytest.fixture
def clock() -> Clock:
    return Clock()


def joined(board: Board, rank: int, process: int, where: str = "elsewhere") -> None:
    board.say(f"who/{rank}", json.dumps({"process": process, "machine": where, "host": "node7"}))


def ended() -> int:
    """A process that is no more."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"LOCAL_WORLD_SIZE": "2"}, Place(rank=1, size=4, local=1, beside=2)),
        ({"LOCAL_WORLD_SIZE": "4"}, Place(rank=1, size=4, local=1, beside=4)),
        ({}, Place(rank=1, size=4, local=1, beside=2)),
        ({"LOCAL_RANK": ""}, Place(rank=1, size=4)),
        ({"RANK": "0"}, Place(rank=0, size=4, local=1, beside=2)),
        ({"WORLD_SIZE": "1", "RANK": "0"}, None),
        ({"RANK": ""}, None),
        ({"MASTER_PORT": ""}, None),
    ],
)
def test_the_place_is_what_the_launcher_says(changes: dict[str, str], place: Place | None) -> None:
    assert place_of(LAUNCHED | changes) == place


@pytest.mark.parametrize(
    "changes",
    [
        *({"RANK": "4"}, {"RANK": "-1"}, {"RANK": "one"}, {"LOCAL_RANK": "-2"}),
        *({"LOCAL_WORLD_SIZE": "1"}, {"LOCAL_WORLD_SIZE": "-1"}, {"LOCAL_WORLD_SIZE": "all"}),
    ],
)
def test_a_place_that_is_none_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"RANK=.*no rank of a run of several processes\n  start them with torchrun"):
        place_of(LAUNCHED | changes)


def test_settings_go_from_rank_to_rank_whole() -> None:
    assert settings_from(json.loads(json.dumps(plain(SETTINGS)))) == SETTINGS


def test_orders_are_followed_in_turn_and_an_earlier_one_is_given_up(board: Board) -> None:
    leader, other = teams(2, board)
    leader.announce(SETTINGS)
    assert other.next_order() == {"what": "prepare", "settings": plain(SETTINGS), "goes_on": False}
    other.check()
    with leader.measuring(SETTINGS):
        with pytest.raises(AbandonedError):
            other.check()
        assert other.next_order()["what"] == "measure"
    leader.order("end", code=1)
    with pytest.raises(AbandonedError):
        other.check()
    assert other.next_order() == {"what": "end", "code": 1, "goes_on": True}


def test_a_rank_that_fails_fails_the_measurement_by_its_number_and_cause(board: Board) -> None:
    leader, _, other = teams(3, board)
    error = InputError(f"no model at DIR\n  see {setting('model')}")
    with leader.measuring(SETTINGS):
        other.next_order()
        other.fail(error)
        with pytest.raises(MeasureError, match=r"^rank 2 of 3 could not measure its share: no model at DIR\n"):
            leader.meet("seen")
    with leader.measuring(SETTINGS):
        leader.check()  # of the next checkpoint, nothing has failed


def test_an_error_of_nobodys_making_is_told_by_its_first_line() -> None:
    assert words_of(OSError("gone\nfor good")) == "OSError: gone"


def test_a_rank_that_was_killed_is_named_and_not_those_that_were_told_to_end(board: Board, clock: Clock) -> None:
    life = Life(Place(rank=0, size=3), board, clock)
    for rank in (1, 2):
        joined(board, rank, ended(), machine())
    Life(Place(rank=1, size=3), board).leave("the launcher ended it")
    said = life.lost([1, 2])
    assert said
    assert said.startswith("rank 2 of 3 (process ")
    assert said.endswith("on node7) died without a word: killed, for memory mostly, or crashed")
    assert (life.lost([1]) or "").startswith("rank 1 of 3")


def test_a_rank_of_another_machine_is_known_by_its_signs_of_life(board: Board, clock: Clock) -> None:
    life = Life(Place(rank=0, size=2), board, clock)
    joined(board, 1, ended())
    for beat in range(5):
        board.say("alive/1", str(beat))
        assert life.lost([1]) is None
        clock.now += SILENT
    clock.now += 1
    assert (life.lost([1]) or "").endswith(f"on node7) has not been heard of for {SILENT + 1:.0f} s")


def test_a_rank_that_never_joins_is_waited_for_and_then_named(board: Board, clock: Clock) -> None:
    life = Life(Place(rank=0, size=2), board, clock)
    assert life.lost([1]) is None
    clock.now = JOINING - 1
    assert life.lost([1]) is None
    clock.now = JOINING + 1
    assert life.lost([1]) == f"rank 1 of 2 did not join within {JOINING + 1:.0f} s"


def test_nobody_waits_for_a_dead_rank(board: Board) -> None:
    leader, other = teams(2, board)
    joined(board, 1, ended(), machine())
    with pytest.raises(MeasureError, match=r"rank 1 of 2 .* died without a word"), leader.measuring(SETTINGS):
        leader.meet("seen")
    with pytest.raises(MeasureError, match=r"rank 1 of 2 .* died"), leader.measuring(SETTINGS):
        pass
    joined(board, 0, ended(), machine())
    other.next_order()
    other.next_order()
    with pytest.raises(ConnectionError, match="rank 0 of 2"):
        other.next_order()


def test_a_store_that_is_gone_is_told() -> None:
    class Gone:
        def set(self, key: str, value: str) -> None:
            raise RuntimeError("Broken pipe")

        def get(self, key: str) -> bytes:
            raise RuntimeError("Broken pipe")

        def check(self, keys: list[str]) -> bool:
            raise RuntimeError("Broken pipe")

    board = Board(Gone())
    with pytest.raises(ConnectionError, match="Broken pipe"):
        board.say("name")
    team = Team(Place(rank=0, size=2), board, Life(Place(rank=0, size=2), board))
    with pytest.raises(MeasureError, match="the store by which 2 ranks know of each other is gone"):
        team.check()


def test_who_runs_and_who_does_not() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    assert is_running(child.pid)
    child.kill()
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        pass
    assert not is_running(child.pid), "it ended, and was not waited for yet"
    child.communicate()
    assert not is_running(child.pid)
    assert machine() == machine()
