"""What schemes cost the weights of linear layers: a Record in, the worst weight of every site and scheme out."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_maxact.judge.figures.words import plain
from pytest_maxact.numbers.weights import WeightDistortion, worst_weight
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightRow:
    """Of the weights that one site is multiplied with, so many, the one that a scheme costs most: its name, the SQNR in
    dB of its worst matrix, NaN where the scheme cannot quantize it, and then `refused` says why.
    """

    site: str
    kind: str
    layer: int
    scheme: str
    weights: int
    worst: str
    sqnr_db: float
    refused: str


def weight_rows(record: Record) -> tuple[WeightRow, ...]:
    """By scheme, in depth order; none where no weight was quantized."""
    rows = [row for reading in record.sites.values() if reading.weights for row in _rows(reading)]
    order = {name: place for place, name in enumerate(dict.fromkeys(row.scheme for row in rows))}
    return tuple(sorted(rows, key=lambda row: order[row.scheme]))


def _rows(reading: SiteReading) -> Iterator[WeightRow]:
    for scheme in dict.fromkeys(name for by_scheme in reading.weights.values() for name in by_scheme):
        path = worst_weight(reading.weights, scheme)
        cost: WeightDistortion = reading.weights[path][scheme]
        yield WeightRow(
            site=reading.site.name,
            kind=reading.site.kind,
            layer=reading.site.layer or 0,
            scheme=scheme,
            weights=sum(scheme in by_scheme for by_scheme in reading.weights.values()),
            worst=plain(path),
            sqnr_db=math.nan if cost.refused else cost.lowest_db,
            refused=plain(cost.refused),
        )
