"""The text around the tokens at which entries sat: readings in, the same readings with or without it out, and the text
by sample and position, as a file holds it once, however many entries sat there.

Guards that a file has it of no other token: a Record quotes its corpus where it names a token, and nowhere else.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from pytest_maxact.errors import shown
from pytest_maxact.numbers.peaks import AROUND_KEPT, Around, NonFinite, Peak
from pytest_maxact.record.reading import SiteReading

Texts = dict[str, dict[str, Around]]
"""By sample and position."""


def texts_around(readings: Iterable[SiteReading]) -> Texts:
    """Of every place that readings tell it of."""
    found: Texts = {}
    for reading in readings:
        for place in _places(reading):
            if place.around is not None:
                found.setdefault(place.sample, {})[f"{place.position}"] = place.around
    return found


def told_around(reading: SiteReading, told: Callable[[str, int], Around | None]) -> SiteReading:
    """With the text that is `told` of a sample and a position."""
    first = reading.first_nonfinite
    return replace(
        reading,
        peaks=tuple(replace(peak, around=told(peak.sample, peak.position)) for peak in reading.peaks),
        first_nonfinite=replace(first, around=told(first.sample, first.position)) if first else None,
    )


def without_around(reading: SiteReading) -> SiteReading:
    return told_around(reading, lambda sample, position: None)


def with_around(readings: Mapping[str, SiteReading], texts: Texts) -> dict[str, SiteReading]:
    """The reverse of `texts_around`. Raises ValueError for the text of a place at which no entry sat."""
    places = {(one.sample, f"{one.position}") for reading in readings.values() for one in _places(reading)}
    for sample, by_position in texts.items():
        for position in by_position:
            if (sample, position) not in places:
                raise ValueError(f"around: no entry sat at {shown(position)} of {shown(sample)}")
    return {
        name: told_around(reading, lambda sample, position: texts.get(sample, {}).get(f"{position}"))
        for name, reading in readings.items()
    }


def require_short(reading: SiteReading) -> None:
    """Raise ValueError for more text than is kept of any place."""
    for place in _places(reading):
        if place.around and max(len(place.around.before), len(place.around.after)) > AROUND_KEPT:
            raise ValueError(f"around: more than {AROUND_KEPT} characters beside token {place.position}")


def _places(reading: SiteReading) -> tuple[Peak | NonFinite, ...]:
    return (*reading.peaks, *((reading.first_nonfinite,) if reading.first_nonfinite else ()))
