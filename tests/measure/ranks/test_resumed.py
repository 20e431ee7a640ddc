"""Ranks whose pass was broken off go on, each with its own share: what rank 0 holds in the end is what it is without,
and no batch runs twice but those that were cut short.
"""

import copy
import math
from collections import Counter
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.errors import BrokenOffError, MeasureError
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.ranks.team import Team
from pytest_maxact.measure.ranks.together import Together
from pytest_maxact.measure.resume import bookmarks as policy
from pytest_maxact.measure.resume.bookmarks import Bookmarks
from pytest_maxact.measure.resume.opening import told_by_rank_0, told_to_others
from pytest_maxact.measure.resume.resumption import Resumption, until_safe
from pytest_maxact.measure.run import observe
from pytest_maxact.numbers.schemes import SCHEMES
from tests.support import tiny
from tests.support.measuring import encoded, loaded
from tests.support.ranks import same_state, side_by_side

LENGTHS = [5, 9, 3, 12, 7, 7, 4, 11, 6, 8, 10, 5, 13, 2]
RANKS = 3


@cache
def model() -> Any:
    return tiny.random_model("qwen3")


class Shares:
    """One measurement by three ranks. `ran`: every batch that was begun, by its first sample, in all attempts."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch
        self.ran: list[str] = []
        patch.setattr(policy, "SHARE", math.inf)
        patch.setattr(policy, "NOT_BEFORE", 0.0)

    def attempt(self, breaks: dict[int, int]) -> list[Any]:
        """What every rank has in the end, or what it raised; `breaks`: ranks that die before their so-manieth batch."""
        return side_by_side(RANKS, lambda team: self._measured(team, breaks.get(team.place.rank)), self.patch)

    def _measured(self, team: Team, dies_at: int | None) -> Observer:
        resumption = Resumption(self.folder)
        bookmarks = Bookmarks(resumption, {"rank": team.place.rank})
        try:
            with until_safe(resumption) if team.place.leads else nullcontext():
                found = self._observed(team, bookmarks, dies_at)
            resumption.complete()
            return found
        except BrokenOffError as error:
            team.order("end") if team.place.leads else team.fail(error)
            raise

    def _observed(self, team: Team, bookmarks: Bookmarks, dies_at: int | None) -> Observer:
        mine = copy.deepcopy(model())
        shares = self

        class Mortal(Together):
            begun = 0

            def meets(self, planned: Any, fidelity: Any) -> None:
                super().meets(planned, fidelity)
                if self.begun == dies_at:
                    raise BrokenOffError("killed")
                self.begun += 1
                shares.ran.append(planned.sequences[0].sample.id)

        return observe(
            loaded(mine), resolve(mine, mine.config, linear_inputs=True), encoded(LENGTHS), 9,
            schemes=[SCHEMES["W8A8_STATIC"]], company=Mortal(team, dict),
            following=lambda observer: bookmarks.follow("corpus", observer),
        )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Observer:
    """What rank 0 holds of a measurement that was let alone."""
    model()
    with pytest.MonkeyPatch.context() as patch:
        one, *_ = Shares(tmp_path_factory.mktemp("alone"), patch).attempt({})
    assert isinstance(one, Observer), one
    return one


@pytest.mark.parametrize(
    "attempts",
    [
        [{1: 0}],
        [{0: 1}],
        [{2: 1}, {1: 0}],
        [{0: 2, 1: 1}, {2: 0}, {0: 0}],
        [{1: 2}, {1: 0}, {1: 0}],
    ],
)  # fmt: skip
def test_what_rank_0_holds_is_what_it_is_without(
    attempts: list[dict[int, int]], whole: Observer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares, given = Shares(tmp_path, monkeypatch), [None]
    for breaks in attempts:
        if isinstance(given[0], Observer):
            break  # whoever was to die next had nothing left to do
        given = shares.attempt(breaks)
        broken = [isinstance(one, MeasureError) for one in given]
        assert any(broken) or breaks is not attempts[0]
        assert shares.ran
        assert isinstance(given[0], Observer) or list(tmp_path.glob(".pass.*.bookmark"))
    if not isinstance(given[0], Observer):
        given = shares.attempt({})
    one, *others = given
    assert isinstance(one, Observer), one
    same_state(one, whole)
    assert all(isinstance(other, Observer) for other in others)
    assert set(Counter(shares.ran).values()) == {1}
    assert not list(tmp_path.iterdir())


def test_the_others_keep_theirs_where_rank_0_says(tmp_path: Path) -> None:
    told = told_to_others(Resumption(tmp_path / "marks", "run.safetensors"))
    other = told_by_rank_0(told)
    assert other is not None
    assert (tmp_path / "marks").is_dir()
    assert other.open("key").parent == tmp_path / "marks"
    assert other.open("key").name.startswith(".run.safetensors.")
    assert told_to_others(None) is None
    assert told_by_rank_0(None) is None
