"""The states of ranks that each saw some channels of the same tokens, as one: what of a site is split adds up, what
every rank holds whole counts once.

Guard: of every part of a site the channels of all ranks together are as many as the whole model has, and what all hold
whole is the same everywhere. Nothing is taken for whole that one rank alone saw of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.reduction import Entry, How, State, grouped, reduced, under, value_of, within
from pytest_maxact.measure.ranks.samples import joined_maxima

_APART = 0.01
"""The share of entries that may be counted elsewhere on another rank, where kernels add up in no fixed order."""
_HEAD = 4
"""Where in the place of a largest score its head stands."""
_OF_ONE = ("fidelity", "told")
"""What every rank saw of whole tensors: that of rank 0 is taken, for sums may differ in their last bits."""
_JOINED = (*_OF_ONE, "site", "logits")


def across(states: Sequence[State], widths: Mapping[tuple[str, str], int]) -> State:
    """`states`: of all ranks, in their order; `widths`: of every part of every site in one piece. Of the losses of
    samples, which no rank has of all channels, there are none. Raises MeasureError where ranks saw different things of
    what is the same for all.
    """
    states = [{name: one for name, one in state.items() if not name.startswith("losses/")} for state in states]
    first = states[0]
    for name, entry in first.items():
        every = [state[name].value for state in states if name in state]
        if (
            entry.how in (How.SUM, How.EQUAL)
            and name.partition("/")[0] not in _JOINED
            and not _alike(every, len(states))
        ):
            raise _differing(name)
    whole = {
        **reduced(_lasting(state) for state in states),
        **{name: entry for name, entry in first.items() if entry.how in (How.SUM, How.EQUAL)},
    }
    whole |= {name: entry for name, entry in first.items() if name.partition("/")[0] in _OF_ONE}
    by_site = [grouped(within("site", state)) for state in states]
    for site in value_of(first, "sites", []):
        whole |= under(f"site/{site}", _joined_site(site, [one.get(site, {}) for one in by_site], widths))
    whole |= under("maxima", joined_maxima(states, _shifts(states, widths)))
    return {**whole, **under("logits", _logits(states, widths))}


def _shifts(states: Sequence[State], widths: Mapping[tuple[str, str], int]) -> dict[str, list[int] | None]:
    """By site how far the channels of each rank are moved; None for one of several parts that ranks share."""
    found: dict[str, list[int] | None] = {}
    for site in value_of(states[0], "sites", []):
        seen: list[dict[str, int]] = [value_of(state, f"site/{site}/widths", {}) for state in states]
        split = [part for part in seen[0] if _is_split(site, part, [one[part] for one in seen], widths)]
        if not split:
            found[site] = [0] * len(states)
        elif len(seen[0]) > 1:
            found[site] = None
        else:
            found[site] = [sum(one[split[0]] for one in seen[:rank]) for rank in range(len(states))]
    return found


def _lasting(state: State) -> State:
    """What does not count twice where several saw the same: largest and first ones, and unions."""
    return {name: entry for name, entry in state.items() if entry.how not in (How.SUM, How.EQUAL)}


def _alike(values: Sequence[Any], ranks: int) -> bool:
    first, *others = values
    same = torch.equal if isinstance(first, torch.Tensor) else lambda one, other: one == other
    return len(values) == ranks and all(same(first, other) for other in others)


def _joined_site(site: str, states: Sequence[State], widths: Mapping[tuple[str, str], int]) -> State:
    seen: list[dict[str, int]] = [value_of(state, "widths", {}) for state in states]
    if any(one.keys() != seen[0].keys() for one in seen):
        raise _differing(f"parts of {site}")
    split = {part: _is_split(site, part, [one[part] for one in seen], widths) for part in seen[0]}
    if len(set(split.values())) > 1:
        raise MeasureError(
            f"{site}: ranks share the channels of {_named(split, True)} and hold those of {_named(split, False)} "
            "whole, which cannot be told apart\n  measure this architecture with one process"
        )
    if any(value_of(one, "rows", {}) != value_of(states[0], "rows", {}) for one in states):
        raise _differing(f"rows of {site}")
    if not any(split.values()):
        for rank, other in enumerate(states[1:], 1):
            _refuse_apart(site, states[0], other, rank)
        return states[0]
    moved = []
    for rank, state in enumerate(states):
        before = {part: sum(one[part] for one in seen[:rank]) for part in split}
        moved.append(_moved(state, before) if rank else {**_moved(state, before), "rows": state["rows"]})
    joined = reduced(moved)
    equal = {name: Entry(joined[name].value, How.EQUAL) for name in ("widths", "heads") if name in joined}
    return {**joined, **equal}


def _is_split(site: str, part: str, seen: Sequence[int], widths: Mapping[tuple[str, str], int]) -> bool:
    """Whether ranks share the channels of a part. Raises MeasureError where they neither do nor all have all."""
    whole = widths.get((site, part))
    if whole is not None and all(width == whole for width in seen):
        return False
    if whole is not None and sum(seen) == whole:
        return True
    named = f"{site} ({part})" if part else site
    raise MeasureError(
        f"{named}: ranks saw {' + '.join(map(str, seen))} channels of {whole or 'an unknown number'}\n"
        "  a partial measurement is refused; please report the model_type"
    )


def _moved(state: State, before: Mapping[str, int]) -> State:
    """The state of one rank with its channels where they are in the whole; `before`: those of earlier ranks."""

    def there(peak: dict[str, Any]) -> dict[str, Any]:
        return {**peak, "channel": peak["channel"] + before[peak["part"]]}

    first = value_of(state, "nonfinite", None)
    return {
        **{name: entry for name, entry in state.items() if name != "rows"},
        "peaks": Entry([there(peak) for peak in value_of(state, "peaks", [])], How.LARGEST),
        "nonfinite": Entry(there(first) if first else None, How.FIRST),
        "widths": Entry(value_of(state, "widths", {}), How.SUM),
        "heads": Entry(value_of(state, "heads", None), How.SUM),
    }


def _refuse_apart(site: str, one: State, other: State, rank: int) -> None:
    """Raise MeasureError where two ranks saw different values of what both hold whole, as of sums that are not added
    up yet.
    """
    counts, theirs = within("counts", one), within("counts", other)
    for split, mine in counts.items():
        entries = int(mine.value.sum())
        found = theirs[split].value.to(mine.value.device) if split in theirs else torch.zeros_like(mine.value)
        if int(found.sum()) != entries or int((found - mine.value).abs().sum()) > 2 * _APART * entries:
            raise MeasureError(
                f"{site}: every rank should hold it whole, and ranks 0 and {rank} saw different values\n"
                "  please report the model_type"
            )


def _logits(states: Sequence[State], widths: Mapping[tuple[str, str], int]) -> State:
    """Largest scores of heads: those of all ranks side by side, where they share the queries."""
    found = [within("logits", state) for state in states]
    joined: dict[str, Entry] = dict(found[0])
    for name in within("heads", found[0]):
        layer, _, part = name.partition("/")
        site = f"layers.{layer}.q"
        seen = [value_of(state, f"site/{site}/widths", {}).get(part, 0) for state in states]
        if not _is_split(site, part, seen, widths):
            continue
        heads = [one[f"heads/{name}"].value for one in found]
        places = [list(one[f"place/{name}"].value) for one in found]
        for rank, place in enumerate(places):
            place[_HEAD] += sum(one.numel() for one in heads[:rank])
        joined[f"heads/{name}"] = Entry(torch.cat(heads), How.MAX)
        joined[f"place/{name}"] = Entry(min(places), How.LEAST)
        joined[f"bound/{name}"] = Entry(max(one[f"bound/{name}"].value for one in found), How.MAX)
    return joined


def _named(split: Mapping[str, bool], how: bool) -> str:
    return ", ".join(part or "itself" for part, is_split in split.items() if is_split == how)


def _differing(what: str) -> MeasureError:
    return MeasureError(f"ranks that hold one model together differ in the {what}\n  please report the model_type")
