"""What carries the largest entries of a site: their places in, M by category, place, token and channel out, and whether
one of each carries them all, as massive activations are carried.

The entries are the largest of every sample where the Record keeps those, whose tokens are known of the ten largest
only; else these ten.
"""

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.record.record import Record

FIRST, BOS, DELIMITER, OTHER = "first", "BOS", "delimiter", "other"
Name = TypeVar("Name")
_BOS = frozenset(
    {"<s>", "<bos>", "<|begin_of_text|>", "<|endoftext|>", "<|im_start|>", "[CLS]", "[BOS]", "<|startoftext|>"}
)
_ALL = 0.9
"""So much of the entries one channel, place or token must have to be said to carry them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One large entry. `token` is None where its text is not known."""

    value: float
    category: str
    position: int
    channel: int
    token: str | None

    @property
    def place(self) -> str:
        """The class of its position. A token that is not known is told by its position alone."""
        if self.token is not None and self.token.strip() in _BOS:
            return BOS
        if self.position == 0:
            return FIRST
        return DELIMITER if self.token is not None and _is_delimiter(self.token) else OTHER


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """`by_...`: the largest magnitude by each, the largest first; `channel`, `position`, `token`: the one that carries
    `_ALL` of the entries at least, and the largest of them, None where none does. `entries`: how many there were.
    """

    entries: int
    by_category: Mapping[str, float]
    by_place: Mapping[str, float]
    by_token: Mapping[str, float]
    by_channel: Mapping[int, float]
    channel: int | None
    position: int | None
    token: str | None


def carried(entries: Iterable[Entry]) -> Carried | None:
    """None where there are no entries."""
    found = sorted(entries, key=lambda one: (-abs(one.value), one.category, one.position, one.channel))
    if not found:
        return None
    known = [one for one in found if one.token is not None]
    return Carried(
        entries=len(found),
        by_category=_largest(found, lambda one: one.category),
        by_place=_largest(found, lambda one: one.place),
        by_token=_largest(known, lambda one: one.token or ""),
        by_channel=_largest(found, lambda one: one.channel),
        channel=_single(found, lambda one: one.channel),
        position=_single(found, lambda one: one.position),
        token=_single(known, lambda one: one.token),
    )


def carried_at(record: Record, site: str) -> Carried | None:
    """Of one site of a Record."""
    reading = record[site]
    categories = {name: category for name, category, *_ in record.provenance.samples}
    peaks = [_entry(peak, categories) for peak in reading.peaks if peak.position >= 0]
    return carried(peaks)


def carried_sentence(found: Carried) -> str:
    """In one line: who carries the largest entries."""
    alone = [
        f"channel {found.channel}" if found.channel is not None else "",
        f"token {found.position}" if found.position is not None else "",
        f"{found.token!r}" if found.token is not None else "",
    ]
    names = ", ".join(filter(None, alone))
    places = ", ".join(f"{place} {value:.6g}" for place, value in found.by_place.items())
    most = f"{max(1, math.ceil(_ALL * found.entries))} of {found.entries} or more"
    by = f"{names} ({most})" if names else "no one alone"
    return f"carried by {by}; by place: {places}"


def _entry(peak: Peak, categories: Mapping[str, str]) -> Entry:
    return Entry(
        value=peak.value, category=categories.get(peak.sample, ""), position=peak.position, channel=peak.channel,
        token=peak.token,
    )  # fmt: skip


def _largest(entries: Iterable[Entry], name: Callable[[Entry], Name]) -> dict[Name, float]:
    found: dict[Name, float] = {}
    for one in entries:
        found.setdefault(name(one), abs(one.value))
    return found


def _single(entries: list[Entry], name: Callable[[Entry], Name]) -> Name | None:
    """What the largest entry and nearly all others share."""
    if not entries:
        return None
    first = name(entries[0])
    shared = sum(name(one) == first for one in entries)
    return first if shared >= _ALL * len(entries) else None


def _is_delimiter(token: str) -> bool:
    """Whether a token is nothing but punctuation and space."""
    return all(character.isspace() or unicodedata.category(character)[0] in "PZC" for character in token)
