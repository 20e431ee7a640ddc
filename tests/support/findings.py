"""Limits, and Records that hold given values at one site."""

from collections.abc import Iterable

from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.metrics.metric import Metric
from pytest_maxact.record.record import Record
from tests.support import records

HIDDEN = "layers.0.hidden"
INT8 = "int8.max_abs.sqnr_db"


def limit(
    bound: float,
    site: str = HIDDEN,
    metric: str = "max_abs",
    sense: str = "max",
    figure: float | None = None,
    headroom: float | None = None,
) -> Limit:
    return Limit(
        site=site,
        metric=Metric.parse(metric),
        bound=bound,
        sense=sense,
        rule="shape Tiny",
        source="a paper",
        file="limits.yaml",
        line=7,
        figure=figure,
        headroom=headroom,
    )


def holding(*values: float, site: str = HIDDEN) -> Record:
    """A Record of one site that gave these values to one token of either split."""
    return records.record({site: [list(values)]})


def checks_failing(findings: Iterable[Finding]) -> list[str]:
    """The names of checks that do not hold and are not waived."""
    return [finding.limit.check for finding in findings if not finding.accepted]
