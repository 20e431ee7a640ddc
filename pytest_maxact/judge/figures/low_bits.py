"""What low bits cost every site under every scheme that is known: a Record and findings in, a row for each out."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pytest_maxact.errors import MeasureError
from pytest_maxact.judge.figures.cells import depth_of
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.formats import INT8_POLICIES, FormatDistortion
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.sites import kept_in_cache
from pytest_maxact.record.metrics.distortion import SchemeDistortion
from pytest_maxact.record.metrics.figures import integer_figures
from pytest_maxact.record.metrics.metric import Kind
from pytest_maxact.record.metrics.scheme import scheme_distortion
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class LowBitRow:
    """One site under one scheme: SQNR in dB, NaN where an entry is not finite, inf where nothing is lost; shares of
    clipped entries and of non-zero ones that become zero. `limit`: the SQNR it is held to, None for none; `fails`:
    whether a check of it does, by no waiver.
    """

    site: str
    kind: str
    depth: int
    scheme: str
    sqnr_db: float
    flushed: float
    clipped: float
    limit: float | None
    fails: bool


def low_bits_of(record: Record, findings: Sequence[Finding] = ()) -> tuple[LowBitRow, ...]:
    """INT-8 per tensor under the paper's policies first, then schemes in the order in which they were measured."""
    held: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if (scheme := scheme_of(finding)) and finding.limit.metric.quantity in ("sqnr_db", "flush_to_zero"):
            held.setdefault((finding.site, scheme), []).append(finding)
    kept = {site.name for site in kept_in_cache(reading.site for reading in record.sites.values())}
    caches = [name for name in record.provenance.schemes if SCHEMES[name].cache]
    rows = [
        row
        for name, reading in record.sites.items()
        for row in _of_site(record, reading, caches if name in kept else (), held)
    ]
    order = {name: place for place, name in enumerate(dict.fromkeys(row.scheme for row in rows))}
    return tuple(sorted(rows, key=lambda row: order[row.scheme]))


def scheme_of(finding: Finding) -> str:
    """The scheme that a check is about, as rows here call it; "" for none."""
    metric = finding.limit.metric
    if metric.kind is Kind.INTEGER:
        return f"INT-{metric.bits} {metric.policy}"
    return metric.scheme if metric.kind is Kind.SCHEME else ""


def _of_site(
    record: Record, reading: SiteReading, caches: Sequence[str], held: Mapping[tuple[str, str], Sequence[Finding]]
) -> Iterator[LowBitRow]:
    policies = INT8_POLICIES if reading.has_both_splits else ()
    for name, cost in _costs(reading, policies, caches).items():
        own = held.get((reading.site.name, name), ())
        bounds = [one.limit.bound for one in own if one.limit.metric.quantity == "sqnr_db"]
        yield LowBitRow(
            site=reading.site.name,
            kind=reading.site.kind,
            depth=depth_of(reading, record.provenance.layers),
            scheme=name,
            sqnr_db=cost.sqnr_db if cost else math.nan,
            flushed=cost.flush_to_zero if cost else math.nan,
            clipped=cost.clip_rate if cost else math.nan,
            limit=max(bounds, default=None),
            fails=any(not one.accepted for one in own),
        )


def _costs(
    reading: SiteReading, policies: Sequence[str], caches: Sequence[str]
) -> dict[str, FormatDistortion | SchemeDistortion | None]:
    """By the name of a scheme; None where an entry is not finite, in the corpus or as it is deployed."""
    found: dict[str, FormatDistortion | SchemeDistortion | None] = {}
    for policy in policies:
        found[f"INT-8 {policy}"] = None if reading.nonfinite else integer_figures(reading, policy)
    for name in dict.fromkeys((*reading.held.schemes, *caches)):
        with suppress(MeasureError):
            found[name] = None if reading.breaks_as_deployed else scheme_distortion(reading, name)
    return found
