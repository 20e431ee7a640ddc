"""What a pass has gathered so far, as named entries that say how they add up: states of batches that share no sample
in, the state of all of them out. Every accumulator declares its own entries (`Held`).

Guard: what the states of parts reduce to is what a single pass over the same batches holds, in every count, maximum and
place, in whatever order. Sums of squares, which are float64, agree to their rounding, and are the same bits where one
state goes on where the other stopped.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Protocol

import torch

from pytest_maxact.errors import MeasureError
from pytest_maxact.numbers.peaks import PEAKS_KEPT, Peak

Plain = Any
"""Whatever JSON holds; None for nothing seen."""


_PEAK = tuple(field.name for field in fields(Peak) if field.name != "around")


class How(str, Enum):
    """How an entry of one state and that of another make one. An entry that is missing, or None, changes nothing.

    Tensors are summed or their maximum is taken, entry by entry, NaN above all. Plain numbers likewise, in lists place
    by place where they are summed and as a whole, the first number first, where they are compared; mappings key by key.
    """

    SUM = "sum"
    MAX = "max"
    LARGEST = "largest"
    """Peaks, largest first: the largest of both."""
    FIRST = "first"
    """A peak or None: the one of the earliest sample, position and channel."""
    LEAST = "least"
    """Lists, compared as a whole, the first entry first: the smaller."""
    UNION = "union"
    """Members of lists, sorted; entries of mappings, of which the latest state has the last word."""
    EQUAL = "equal"
    """Must be the same. Mappings: for the keys that both have."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor or a plain value, and how it reduces. A tensor may be the accumulator's own: nobody writes to it."""

    value: torch.Tensor | Plain
    how: How


State = Mapping[str, Entry]
"""Entries by name; parts of a name are set apart by `/`."""


class Held(Protocol):
    """What gathers something during a pass."""

    def state(self) -> State:
        """All that was committed so far; what is staged has no part in it."""

    def restore(self, state: State) -> None:
        """Hold this, instead of whatever is held."""


def reduced(states: Iterable[State]) -> State:
    """The state of what several saw, who share no sample, in the order of the pass where there is one. Raises
    MeasureError for states of passes that differ in what must be equal.
    """
    return functools.reduce(_joined, states, {})


def under(prefix: str, state: State) -> dict[str, Entry]:
    """A state whose names stand below `prefix`."""
    return {f"{prefix}/{name}": entry for name, entry in state.items()}


def within(prefix: str, state: State) -> dict[str, Entry]:
    """What of a state stands below `prefix`, without it."""
    start = f"{prefix}/"
    return {name.removeprefix(start): entry for name, entry in state.items() if name.startswith(start)}


def grouped(state: State) -> dict[str, dict[str, Entry]]:
    """Entries by the first part of their names, without it."""
    groups: dict[str, dict[str, Entry]] = {}
    for name, entry in state.items():
        first, _, rest = name.partition("/")
        groups.setdefault(first, {})[rest] = entry
    return groups


def value_of(state: State, name: str, otherwise: Plain) -> Any:
    """What an entry holds; `otherwise` where it is missing, or None."""
    entry = state.get(name)
    return otherwise if entry is None or entry.value is None else entry.value


def plain_of(peak: Peak) -> dict[str, Plain]:
    """A peak as plain data."""
    return {name: getattr(peak, name) for name in _PEAK}


def peak_of(plain: Mapping[str, Plain]) -> Peak:
    """The reverse of `plain_of`."""
    return Peak(**plain)


def _joined(one: State, other: State) -> State:
    return {**one, **{name: _both(name, one[name], new) if name in one else new for name, new in other.items()}}


def _both(name: str, one: Entry, other: Entry) -> Entry:
    if one.how is not other.how:
        raise _differing(name, one.how.value, other.how.value)
    if one.value is None or other.value is None:
        return other if one.value is None else one
    return Entry(_JOINING[one.how](name, one.value, other.value), one.how)


def _sum(name: str, one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        return _by_key(name, one, other, _sum)
    if isinstance(one, list):
        return [a + b for a, b in zip(one, other, strict=True)]
    return one + other.to(one.device) if isinstance(one, torch.Tensor) else one + other


def _max(name: str, one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        return _by_key(name, one, other, _max)
    return torch.maximum(one, other.to(one.device)) if isinstance(one, torch.Tensor) else max(one, other)


def _largest(name: str, one: Any, other: Any) -> Any:
    return sorted([*one, *other], key=lambda peak: peak_of(peak).order)[:PEAKS_KEPT]


def _first(name: str, one: Any, other: Any) -> Any:
    return min(one, other, key=lambda peak: peak_of(peak).place)


def _least(name: str, one: Any, other: Any) -> Any:
    return min(one, other)


def _union(name: str, one: Any, other: Any) -> Any:
    return {**one, **other} if isinstance(one, Mapping) else sorted({*one, *other})


def _equal(name: str, one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        return _by_key(name, one, other, _equal)
    if one != other:
        raise _differing(name, one, other)
    return one


_JOINING: Mapping[How, Callable[[str, Any, Any], Any]] = {
    How.SUM: _sum, How.MAX: _max, How.LARGEST: _largest, How.FIRST: _first, How.LEAST: _least,
    How.UNION: _union, How.EQUAL: _equal,
}  # fmt: skip


def _by_key(
    name: str, one: Mapping[str, Any], other: Mapping[str, Any], join: Callable[[str, Any, Any], Any]
) -> dict[str, Any]:
    return {**one, **{key: join(f"{name} {key}", one[key], new) if key in one else new for key, new in other.items()}}


def _differing(name: str, one: Plain, other: Plain) -> MeasureError:
    return MeasureError(
        f"{name}: {one} in one part of the pass and {other} in another; they are no parts of one measurement\n"
        "  measure all of them with the same checkpoint, settings and versions"
    )
