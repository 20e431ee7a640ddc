"""Distributions of single sites: exact histograms in, counts by quarters of octaves out, with the points where number
formats clip, and end.

A quarter of an octave, [1, 1.25), [1.25, 1.5) and so on times a power of two, holds 32 magnitudes of bfloat16: nothing
falls between bins, and no bin holds more of them than another. Guards that counts add up to all entries: zeros, entries
that are not finite and those below the smallest bin are told apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_maxact.judge.figures.cells import Cell
from pytest_maxact.numbers.formats import FP8_MAX, FP16_MAX
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.metrics.figures import integer_figures
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record

E5M2_MAX = 57344.0
_OCTAVES = 56
"""Below the largest magnitude, which bins tell apart."""
_BREACHES = 24
"""Sites with breaches that are drawn; of more, those nearest to the embedding, and how many more there are is said."""
_POLICIES = {"max_abs": "INT-8 max_abs", "clip_q0.999": "INT-8 clip q0.999", "optimal": "INT-8 optimal"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """How many entries have a magnitude in [low, high)."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A magnitude that means something: where a format clips, ends or begins to round to zero, or a limit."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One site, and `why` it was chosen. `below`: entries beneath the smallest bin."""

    site: str
    why: str
    count: int
    zeros: int
    nonfinite: int
    below: int
    bins: tuple[Bin, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distributed:
    """The sites that were chosen, first the one that carries M; `untold`: how many sites with breaches are not among
    them.
    """

    sites: tuple[Distribution, ...]
    untold: int = 0


def distributed(record: Record, cells: Sequence[Cell]) -> Distributed | None:
    """None of a slim Record, which keeps none."""
    if record.is_summary:
        return None
    chosen, untold = _chosen(record, cells)
    limits = {cell.site: cell.limit for cell in cells}
    return Distributed(
        sites=tuple(_of(record.sites[name], why, limits.get(name)) for name, why in chosen.items()), untold=untold
    )


def _chosen(record: Record, cells: Sequence[Cell]) -> tuple[Mapping[str, str], int]:
    """Sites and why: what carries M, where checks fail or entries are not finite, and the largest of each kind."""
    chosen = {record.carrier.site.name: "carries M"}
    bad = [cell for cell in cells if cell.failing or cell.nonfinite or cell.waived]
    for cell in bad[:_BREACHES]:
        what = "not finite" if cell.nonfinite else f"fails {cell.failing[0]}" if cell.failing else "waived"
        chosen[cell.site] = f"{chosen[cell.site]}, {what}" if cell.site in chosen else what
    largest: dict[str, Cell] = {}
    for cell in cells:
        if cell.kind not in largest or cell.value > largest[cell.kind].value:
            largest[cell.kind] = cell
    for kind, cell in largest.items():
        chosen.setdefault(cell.site, f"largest {kind}")
    return chosen, len(bad[_BREACHES:])


def _of(reading: SiteReading, why: str, limit: float | None) -> Distribution:
    assert isinstance(reading.held, Distributions)
    seen = reading.held.calibration + reading.held.evaluation
    bins, below, zeros = _binned(seen)
    return Distribution(
        site=reading.site.name,
        why=why,
        count=seen.count,
        zeros=zeros,
        nonfinite=seen.nonfinite,
        below=below,
        bins=bins,
        marks=tuple(_marks(reading, limit)),
    )


def _binned(seen: Histogram) -> tuple[tuple[Bin, ...], int, int]:
    """Bins that hold anything, ascending, entries beneath them, and zeros."""
    values, counts = seen.finite()
    zeros = int(counts[values == 0].sum())
    values, counts = values[values > 0], counts[values > 0]
    if not values.size:
        return (), 0, zeros
    kept = values >= values[-1] * 2.0**-_OCTAVES
    below = int(counts[~kept].sum())
    mantissa, exponent = np.frexp(values[kept])  # mantissa in [0.5, 1)
    quarter = np.floor((mantissa - 0.5) * 8).astype(np.int64)
    place, inverse = np.unique(exponent * 4 + quarter, return_inverse=True)
    sums = np.zeros(len(place), np.int64)
    np.add.at(sums, inverse, counts[kept])
    return (
        tuple(
            Bin(low=_edge(int(one)), high=_edge(int(one) + 1), count=int(count))
            for one, count in zip(place, sums, strict=True)
        ),
        below,
        zeros,
    )


def _edge(place: int) -> float:
    return (0.5 + (place % 4) / 8) * 2.0 ** (place // 4)


def _marks(reading: SiteReading, limit: float | None) -> Iterator[Mark]:
    if reading.has_both_splits and not reading.nonfinite:
        for policy, called in _POLICIES.items():
            threshold = integer_figures(reading, policy).threshold
            if threshold > 0:
                yield Mark(name=called, value=threshold)
                if policy == "max_abs":
                    yield Mark(name="INT-8 half step", value=threshold / 254)
    yield Mark(name="FP8 E4M3 ends", value=FP8_MAX)
    yield Mark(name="FP8 E5M2 ends", value=E5M2_MAX)
    yield Mark(name="FP16 ends", value=FP16_MAX)
    if limit is not None and limit > 0:
        yield Mark(name="limit", value=limit)
