"""Lower limits that accepted Records fall below: the limits files and the evidence in, the bounds that let these
Records pass, and what they loosen, out.

Guard: a Record that is implausibly small is evidence only where loosening was asked for, and every such bound is told.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_maxact.judge.limits.file import LimitsFile
from pytest_maxact.judge.limits.keys import KEYS
from pytest_maxact.judge.limits.layers import LOWER
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import select_rules
from pytest_maxact.judge.suggest.evidence import Evidence, rounded_down
from pytest_maxact.judge.suggest.loosened import Loosened
from pytest_maxact.record.metrics.metric import LEAST, Metric

_KEYS = {key.metric: key.shape for key in KEYS if key.metric in LOWER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A bound that is due under a `key` of the shape for a site kind, and what it loosens."""

    key: str
    kind: str
    bound: float
    looser: Loosened


def lowered(files: Sequence[LimitsFile], evidence: Evidence) -> Iterator[Lowered]:
    """By metric and site kind, where a Record lies below what holds for it."""
    missed: dict[tuple[Metric, str], list[Limit]] = {}
    kinds = {site.name: site.kind for site in evidence.sites}
    for limit in select_rules(files, evidence.identity, evidence.sites).limits:
        if limit.metric in LOWER and 0.0 < min(_seen(evidence, limit.metric)[limit.site]) < limit.bound:
            missed.setdefault((limit.metric, kinds[limit.site]), []).append(limit)
    for (metric, kind), limits in missed.items():
        smallest = min(min(_seen(evidence, metric)[name]) for name in evidence.of_kind(kind))
        bound = rounded_down(smallest) if smallest > 0 else min(limit.bound for limit in limits)
        yield Lowered(
            key=_KEYS[metric],
            kind=kind,
            bound=bound,
            looser=Loosened(
                key=f"{_KEYS[metric]} of {kind}",
                before=max(limit.bound for limit in limits),
                after=bound,
                sites=tuple(limit.site for limit in limits),
            ),
        )


def _seen(evidence: Evidence, metric: Metric) -> Mapping[str, tuple[float, ...]]:
    return evidence.maxima if metric == LEAST else evidence.medians
