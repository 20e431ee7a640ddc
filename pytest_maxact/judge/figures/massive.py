"""The largest entries of the residual stream, by layer and channel, with the tokens that carry them: a Record in, plain
data out. A Record keeps the ten largest of a site; that is what is told.
"""

from dataclasses import dataclass

from pytest_maxact.judge.compare.jumps import stream
from pytest_maxact.judge.figures.cells import depth_of
from pytest_maxact.judge.figures.words import plain
from pytest_maxact.judge.verdict.quote import quote_of
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeEntry:
    """One entry, or several of one channel and token: the largest, signed, and `entries` of them. `massive`: whether
    its layer meets the massive-activation criterion, on so many `tokens`. `quote`: the text that the token stands in,
    empty where it is not known.
    """

    site: str
    depth: int
    channel: int
    value: float
    token: str
    entries: int
    sample: str
    position: int
    quote: str
    massive: bool
    tokens: int


def large_entries(record: Record) -> tuple[LargeEntry, ...]:
    """Layer by layer, descending."""
    found = []
    for reading in stream(record):
        groups: dict[tuple[int, str], list[int]] = {}
        for place, peak in enumerate(reading.peaks):
            groups.setdefault((peak.channel, peak.token), []).append(place)
        for (channel, token), places in groups.items():
            peak = reading.peaks[places[0]]
            found.append(
                LargeEntry(
                    site=reading.site.name,
                    depth=depth_of(reading, record.provenance.layers),
                    channel=channel,
                    value=peak.value,
                    token=plain(token),
                    entries=len(places),
                    sample=plain(peak.sample),
                    position=peak.position,
                    quote=plain(quote.words, 120) if (quote := quote_of(peak)) else "",
                    massive=reading.is_massive,
                    tokens=reading.massive.tokens if reading.massive else 0,
                )
            )
    return tuple(found)
