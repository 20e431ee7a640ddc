"""The largest entries of samples, of ranks that each saw some channels of the same tokens, as one: of every sample and
site the largest that any rank saw, its channel where it is in the whole.

Guard: of a site of several parts of which ranks share the channels nothing is told (NaN), for which part an entry is of
decides its channel, and is not kept.
"""

from collections.abc import Mapping, Sequence

import torch

from pytest_maxact.measure.observe.reduction import Entry, How, State, value_of, within

Shifts = Mapping[str, Sequence[int] | None]
"""By site how far the channels of each rank are moved; None where that depends on the part."""


def joined_maxima(states: Sequence[State], shifts: Shifts) -> State:
    """`states`: of all ranks, in their order."""
    sites: list[str] = value_of(states[0], "sites", [])
    found = [within("maxima", state) for state in states]
    untold = torch.tensor([shifts.get(site) is None for site in sites], dtype=torch.bool)
    moves = [
        torch.tensor([(shifts.get(site) or [0] * len(states))[rank] for site in sites]) for rank in range(len(states))
    ]
    joined: dict[str, Entry] = {}
    for sample in found[0]:
        best: torch.Tensor | None = None
        for rank, one in enumerate(found):
            if sample not in one:
                continue
            here = one[sample].value.clone().cpu()
            here[:, 2] += torch.where(here[:, 1] >= 0, moves[rank], 0)
            best = here if best is None else torch.where(_before(here, best)[:, None], here, best)
        assert best is not None
        best[untold] = torch.nan
        joined[sample] = Entry(best, How.MAX)
    return joined


def _before(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Of rows [sites, 3] which of `one` are larger, of equals at the earlier position, there in the lower channel."""
    sizes = [torch.where(rows[:, 1] >= 0, rows[:, 0].abs(), -1.0) for rows in (one, other)]
    larger, same = sizes[0] > sizes[1], sizes[0] == sizes[1]
    earlier, there = one[:, 1] < other[:, 1], one[:, 1] == other[:, 1]
    return larger | (same & (earlier | (there & (one[:, 2] < other[:, 2])))) | one[:, 0].isnan()
