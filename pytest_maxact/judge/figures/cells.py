"""The largest magnitude of every site beside its limit: a Record and findings in, a cell for each site out.

Guards that no site is left out, whatever it holds: one with entries that are not finite is a cell that says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_maxact.judge.figures.words import plain
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.metrics.metric import MAX_ABS
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One site. `depth`: its layer, -1 of the embedding, the number of layers of the final norm. `value`: inf where an
    entry is not finite, and `finite` the largest that is; `limit`: the tightest upper one on it, None for none, with
    `used`, the share of it, and `stated`, the line that says it.

    `channel`, `token` and `sample` of the largest entry, or of the first that is not finite. `failing` and `waived`:
    names of the metrics whose checks fail there.
    """

    site: str
    kind: str
    layer: int | None
    depth: int
    value: float
    finite: float
    nonfinite: int
    limit: float | None
    used: float | None
    stated: str
    channel: int | None
    token: str
    sample: str
    failing: tuple[str, ...]
    waived: tuple[str, ...]


def cells_of(record: Record, findings: Sequence[Finding] = ()) -> tuple[Cell, ...]:
    """In depth order."""
    of_site: dict[str, list[Finding]] = {}
    for finding in findings:
        of_site.setdefault(finding.site, []).append(finding)
    layers = record.provenance.layers
    return tuple(_cell(reading, layers, of_site.get(name, ())) for name, reading in record.sites.items())


def depth_of(reading: SiteReading, layers: int) -> int:
    """Where a site stands on an axis of layers."""
    if reading.site.layer is not None:
        return reading.site.layer
    return -1 if reading.site.kind == "embedding" else layers


def _cell(reading: SiteReading, layers: int, findings: Sequence[Finding]) -> Cell:
    upper = [one for one in findings if one.limit.metric == MAX_ABS and one.limit.sense == "max"]
    tightest = min(upper, key=lambda one: one.limit.bound, default=None)
    peak, broken = reading.peaks[0] if reading.peaks else None, reading.first_nonfinite
    place = broken or peak
    return Cell(
        site=reading.site.name,
        kind=reading.site.kind,
        layer=reading.site.layer,
        depth=depth_of(reading, layers),
        value=reading.max_abs,
        finite=reading.finite_max,
        nonfinite=reading.nonfinite,
        limit=tightest.limit.bound if tightest else None,
        used=tightest.usage if tightest else None,
        stated=plain(f"{tightest.limit.file}:{tightest.limit.line}") if tightest else "",
        channel=place.channel if place else None,
        token=plain(place.token) if place else "",
        sample=plain(place.sample) if place else "",
        failing=tuple(dict.fromkeys(one.limit.name for one in findings if not one.accepted)),
        waived=tuple(dict.fromkeys(one.limit.name for one in findings if not one.passed and one.accepted)),
    )
