"""The search itself: first tokens, contexts of the corpus, pairs where there are few enough, then one exchange after
another up the gradient, site by site in turns.

Every step is decided by the seed and by what was found before it, so that a search of so many evaluations gives the
same on every run, and one that was broken off goes on where it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, isqrt

from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.corpus.drawn import Draw
from pytest_maxact.measure.embedded import rows_of
from pytest_maxact.measure.hunt.moves import LONGEST, guesses, moved
from pytest_maxact.measure.hunt.sight import Sight
from pytest_maxact.measure.hunt.state import Find, State

_AT_ONCE = 512
_SHARE_OF_SCAN = 0.5
_TRIED = 64
"""So many inputs of a step of the guided search."""
_DEEP = 3
"""Of so many inputs of a pool the search goes on by turns, the worst most often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """When to stop: after so many evaluations, or when time is up. `used` tells the share of it that is gone."""

    evaluations: int | None
    used_time: Callable[[], float]

    def used(self, state: State) -> float:
        share = state.evaluations / self.evaluations if self.evaluations else 0.0
        return max(share, self.used_time())

    def left(self, state: State) -> int | None:
        return None if self.evaluations is None else max(0, self.evaluations - state.evaluations)

    def room(self, state: State, most: int, share: float = 1.0) -> int:
        """How many inputs to run at once: `most`, or what is left of a share of the evaluations."""
        if self.evaluations is None:
            return most
        return max(0, min(most, ceil(share * self.evaluations) - state.evaluations))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a search goes over: the tokens there are, and contexts of the corpus to start from."""

    anatomy: Anatomy
    vocabulary: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    seed: int


def search(sight: Sight, ground: Ground, budget: Budget, state: State, keep: Callable[[State], None]) -> None:
    """Go on until the budget is gone; `keep` is called after every step. An input that is not finite ends it: there is
    no worse.
    """
    order = Draw(ground.seed, "first tokens").order(ground.vocabulary)
    starts = list(ground.starts)
    while state.started < len(starts) and not _is_done(budget, state):
        some = starts[state.started : state.started + budget.room(state, 16)]
        state.started += len(some)
        _try(sight, state, some, "corpus", budget, keep)
    while state.scanned < len(order) and not _is_over(state) and (room := _room_of_scan(len(order), budget, state)):
        some = [(token,) for token in order[state.scanned : state.scanned + room]]
        state.scanned += len(some)
        _try(sight, state, some, "first token", budget, keep)
    paired, began = state.paired, budget.used_time()
    while state.paired < len(order) ** 2 and _is_worth_pairs(len(order), budget, state, paired, began):
        places = range(state.paired, min(state.paired + budget.room(state, _AT_ONCE), len(order) ** 2))
        state.paired = places.stop
        pairs = [(order[place // len(order)], order[place % len(order)]) for place in places]
        _try(sight, state, pairs, "pair", budget, keep)
    while not _is_done(budget, state):
        _step(sight, ground, state, budget)
        keep(state)


def _room_of_scan(tokens: int, budget: Budget, state: State) -> int:
    """So many first tokens at once, 0 for no more: all are tried where that takes no more than half of the budget, else
    as many as half of it is enough for.
    """
    if budget.used_time() >= _SHARE_OF_SCAN:
        return 0
    fits = budget.evaluations is not None and 2 * tokens <= budget.evaluations
    return budget.room(state, _AT_ONCE, 1.0 if fits else _SHARE_OF_SCAN)


def _is_worth_pairs(tokens: int, budget: Budget, state: State, paired: int, began: float) -> bool:
    """Whether all pairs fit into half of what is left, counted in evaluations, or told by how far time went since
    `began`, when so many were `paired`: what was tried before took longer, each by itself, and tells nothing of it.
    """
    if _is_done(budget, state):
        return False
    left = budget.left(state)
    if left is not None:
        return tokens**2 <= (left + state.paired) // 2
    tried, used = state.paired - paired, budget.used_time()
    each = (used - began) / tried if tried else 0.0
    return (tokens**2 - state.paired) * each <= (1 - began) / 2 - (used - began)


def _is_done(budget: Budget, state: State) -> bool:
    return _is_over(state) or budget.used(state) >= 1


def _is_over(state: State) -> bool:
    return any(pool and pool[0].value == float("inf") for pool in state.pools.values())


def _try(
    sight: Sight, state: State, rows: Sequence[tuple[int, ...]], how: str, budget: Budget,
    keep: Callable[[State], None] | None = None,
) -> None:  # fmt: skip
    left = budget.left(state)
    rows = rows if left is None else rows[:left]
    before = sight.evaluations
    for ids, heights in zip(rows, sight.heights(rows), strict=True):
        for site, height in heights.items():
            state.add(
                site,
                Find(ids=tuple(ids), value=height.value, position=height.position, channel=height.channel, how=how),
            )
    state.evaluations += sight.evaluations - before
    if keep:
        keep(state)


def _step(sight: Sight, ground: Ground, state: State, budget: Budget) -> None:
    """One step of the guided search, at the site whose turn it is."""
    site = sight.sites[state.round % len(sight.sites)]
    draw = Draw(ground.seed, f"step {state.round}")
    state.round += 1
    pool = state.pools.get(site) or [Find(ids=(draw.one(ground.vocabulary),), value=0, position=0, channel=0, how="")]
    # the worst half of the time, then the others of the deep end, now and then any
    depth = _DEEP - isqrt(draw.below((_DEEP + 1) ** 2)) if draw.below(4) else draw.below(len(pool))
    chosen = pool[min(len(pool) - 1, depth)]
    ids = list(chosen.ids[-LONGEST:])
    before = sight.evaluations
    uphill = sight.uphill(ids, site)
    state.evaluations += sight.evaluations - before
    exchanges = (
        []
        if uphill is None or not uphill.any()
        else guesses(uphill, ids, ground.vocabulary, partial(rows_of, sight.loaded, ground.anatomy))
    )
    others = [find.ids for find in pool if find.ids != chosen.ids]
    tried = moved(ids, exchanges, ground.vocabulary, others, _TRIED - 1, draw)
    _try(sight, state, [tuple(ids[: chosen.position + 1]), *tried], "search", budget)
