"""What carries the largest entries of a site: of every sample its maximum, where it sat and the token there in, M by
category, place, token and channel out, and whether one of each carries them all, as massive activations are carried.

A Record that keeps nothing of its samples tells it of the ten largest entries alone.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pytest_maxact.numbers.counted import counted, counted_of
from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.numbers.tokens import is_bos, is_delimiter
from pytest_maxact.record.record import Record

FIRST, BOS, DELIMITER, OTHER = "first", "BOS", "delimiter", "other"
Name = TypeVar("Name", bound=Hashable)
_ALL = 0.9
"""So much of the entries one channel, place or token must have to be said to carry them."""
_NAMED = 10
"""So many tokens and channels are named, those with the largest entries."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entries:
    """Large entries: magnitudes [entries], the category, position and channel of each, and what its token says, None
    where that is not known.
    """

    magnitudes: npt.NDArray[np.float64]
    categories: Sequence[str]
    positions: Sequence[int]
    channels: Sequence[int]
    tokens: Sequence[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The largest magnitude of one name, and how many entries are of it."""

    largest: float
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """`by_...`: what each has, the largest first, of tokens, channels and positions the first few; `channel`,
    `position`, `token`: the one that carries `_ALL` of the entries at least, and the largest of them, None where none
    does. `entries`: how many there were; `of_samples`: whether each is the maximum of a sample, else they are the
    largest of all.
    """

    entries: int
    of_samples: bool
    by_category: Mapping[str, Held]
    by_place: Mapping[str, Held]
    by_token: Mapping[str, Held]
    by_channel: Mapping[int, Held]
    by_position: Mapping[int, Held]
    channel: int | None
    position: int | None
    token: str | None

    @property
    def is_alone(self) -> bool:
        """Whether one channel, position or token carries them."""
        return (self.channel, self.position, self.token) != (None, None, None)


def place_of(position: int, token: str | None) -> str:
    """The class of a position. A token that is not known is told by its position alone."""
    if token is not None and is_bos(token):
        return BOS
    if position == 0:
        return FIRST
    return DELIMITER if token is not None and is_delimiter(token) else OTHER


def carried(found: Entries, of_samples: bool = True) -> Carried | None:
    """None where there are no entries."""
    if not len(found.magnitudes):
        return None
    places = _places(found)
    known = [place for place, token in enumerate(found.tokens) if token is not None]
    tokens = [found.tokens[place] or "" for place in known]
    by_token, by_channel = _by(tokens, found.magnitudes[known]), _by(found.channels, found.magnitudes)
    by_position = _by(found.positions, found.magnitudes)
    return Carried(
        entries=len(found.magnitudes),
        of_samples=of_samples,
        by_category=_by(found.categories, found.magnitudes),
        by_place=_by(places, found.magnitudes),
        by_token=_first(by_token),
        by_channel=_first(by_channel),
        by_position=_first(by_position),
        channel=_single(by_channel, found.magnitudes),
        position=_single(by_position, found.magnitudes),
        token=_single(by_token, found.magnitudes),
    )


def carried_at(record: Record, site: str, maxima: SampleMaxima | None) -> Carried | None:
    """Of one site of a Record: by the maxima of its samples, where these are kept, else by its largest entries."""
    categories = {name: category for name, category, *_ in record.provenance.samples}
    if maxima is not None:
        return carried(entries_of(maxima, list(categories.values()), record.token_texts or {}))
    peaks = [peak for peak in record[site].peaks if peak.position >= 0]
    found = Entries(
        magnitudes=np.array([abs(peak.value) for peak in peaks], np.float64),
        categories=[categories.get(peak.sample, "") for peak in peaks],
        positions=[peak.position for peak in peaks],
        channels=[peak.channel for peak in peaks],
        tokens=[peak.token for peak in peaks],
    )
    return carried(found, of_samples=False)


def entries_of(maxima: SampleMaxima, categories: Sequence[str], texts: Mapping[str, str]) -> Entries:
    """`categories`: of the samples, in their order. A sample without a finite entry has none here."""
    there: list[int] = np.flatnonzero(maxima.positions >= 0).tolist()
    ids = [-1] * len(there) if maxima.tokens is None else maxima.tokens[there].tolist()
    known = {one: texts.get(str(one)) for one in set(ids)}
    return Entries(
        magnitudes=maxima.magnitudes[there],
        categories=[categories[place] for place in there],
        positions=maxima.positions[there].tolist(),
        channels=maxima.channels[there].tolist(),
        tokens=[known[one] for one in ids],
    )


def carried_words(found: Carried) -> str:
    """In one line: what carries the largest entries, each with how many of them it has."""
    alone: list[tuple[str, int]] = []
    if found.channel is not None:
        alone.append((f"channel {found.channel}", found.by_channel[found.channel].entries))
    if found.position is not None:
        alone.append((f"position {found.position}", found.by_position[found.position].entries))
    if found.token is not None:
        alone.append((f"token {found.token!r}", found.by_token[found.token].entries))
    entries = found.entries
    samples = counted(entries, "sample") if found.of_samples else f"the {entries} largest entries"
    if not alone:
        return f"no channel, position or token carries nine tenths of {samples}"
    (name, held), *others = alone
    if not found.of_samples:
        return ", ".join([f"{name} holds {held} of {samples}", *(f"{name} {held}" for name, held in others)])
    many = f"all {samples}" if held == entries > 1 else counted_of(held, entries, "sample")
    beside = (f"{name} that of {'all' if held == entries > 1 else held}" for name, held in others)
    return ", ".join([f"{name} holds the maximum of {many}", *beside])


def by_words(found: Mapping[str, Held]) -> str:
    """Names with the largest magnitude of each, and how many entries it has."""
    return ", ".join(f"{name} {one.largest:.6g} ({one.entries})" for name, one in found.items())


def _places(found: Entries) -> list[str]:
    known: dict[tuple[bool, str | None], str] = {}
    told = []
    for position, token in zip(found.positions, found.tokens, strict=True):
        key = (position == 0, token)
        if key not in known:
            known[key] = place_of(position, token)
        told.append(known[key])
    return told


def _by(names: Sequence[Name], magnitudes: npt.NDArray[np.float64]) -> dict[Name, Held]:
    known: dict[Name, int] = {}
    for name in names:
        if name not in known:
            known[name] = len(known)
    places = np.fromiter(map(known.__getitem__, names), np.int64, len(names))
    counts, largest = np.bincount(places, minlength=len(known)).tolist(), np.zeros(len(known))
    np.maximum.at(largest, places, magnitudes)
    found = {name: Held(largest=float(largest[place]), entries=counts[place]) for name, place in known.items()}
    return dict(sorted(found.items(), key=lambda one: (-one[1].largest, -one[1].entries, str(one[0]))))


def _first(found: Mapping[Name, Held]) -> dict[Name, Held]:
    return dict(list(found.items())[:_NAMED])


def _single(by_name: Mapping[Name, Held], magnitudes: npt.NDArray[np.float64]) -> Name | None:
    """What nearly all entries share, and one of the largest too."""
    entries, largest = _ALL * len(magnitudes), float(magnitudes.max())
    carriers = (name for name, one in by_name.items() if one.entries >= entries and one.largest == largest)
    return next(carriers, None)
