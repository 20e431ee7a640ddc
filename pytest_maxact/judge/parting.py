"""Where a Record parts from one that it is compared with: both and what was found of the relative limits in, the first
site that changed too much out, or how far the two differ where nothing did.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_maxact.judge.compare.comparison import Comparison, Side, compare, side_of
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """What breaches relative limits: the first site, in the order in which values arise, and how many of `sites` do;
    None and 0 where only the model as a whole changed too much. `metric`, `value` and `bound` are of the first breach.
    """

    first: Site | None
    changed: int
    sites: int
    metric: str
    value: float
    bound: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """How a checkpoint stands to one baseline: where it parts from it or, where it does not, how far the two differ."""

    name: str
    before: Side
    after: Side
    parting: Parting | None
    comparison: Comparison | None
    same_weights: bool


def against(name: str, before: Record, after: Record, findings: Sequence[Finding]) -> Against:
    """`findings`: those of the limits relative to this baseline."""
    parting, of_source = parting_of(after, findings), any(one.limit.of_source for one in findings)
    return Against(
        name=name,
        before=side_of(before),
        after=side_of(after),
        parting=parting,
        comparison=None if parting else compare(before, after, is_source=of_source),
        same_weights=before.provenance.weights_sha256 == after.provenance.weights_sha256,
    )


def parting_of(after: Record, findings: Sequence[Finding]) -> Parting | None:
    """Where a Record parts from what its relative limits compare it with; None where none of them is breached."""
    breaches = [finding for finding in findings if not finding.passed]
    if not breaches:
        return None
    sites = sorted((finding.reading.site for finding in breaches if finding.reading), key=lambda site: site.flow)
    first = next(finding for finding in breaches if finding.site == sites[0].name) if sites else breaches[0]
    return Parting(
        first=sites[0] if sites else None,
        changed=len({site.name for site in sites}),
        sites=len(after.sites),
        metric=first.limit.metric.name,
        value=first.value,
        bound=first.limit.bound,
    )
