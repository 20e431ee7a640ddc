"""Made-up checkpoints of a training run, limits that speak about them, and what is found of these."""

from collections.abc import Sequence
from dataclasses import replace

from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.series.trend import Stage
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.record.metrics.metric import Metric
from tests.support import records

HIDDEN, MLP = "layers.31.hidden", "layers.31.mlp_output"


def limit(bound: float = 100.0, site: str = HIDDEN, metric: str = "max_abs", against: str = "") -> Limit:
    return Limit(
        site=site,
        metric=Metric.parse(metric),
        bound=bound,
        sense="max",
        rule="a rule",
        source="",
        file="limits.yaml",
        line=7,
        against=against,
    )


def stage(maximum: float, step: int | None = 500, name: str = "", massive: int = 0) -> Stage:
    record = records.record(
        {"embedding": [[0.5, 0.25]], MLP: [[2.0, 0.25]], HIDDEN: [[maximum, 0.3125]], "final_norm": [[1.0, 0.25]]}
    )
    reading = replace(record[HIDDEN], massive=Massive(tokens=massive, entries=massive))
    return Stage(
        name=name or f"step-{step}", step=step, record=replace(record, sites={**record.sites, HIDDEN: reading})
    )


def findings_of(stages: Sequence[Stage], *limits: Limit) -> dict[str, list[Finding]]:
    return {one.name: [check(one.record, each) for each in limits or (limit(),)] for one in stages}


GROWING = [stage(4.0, 500), stage(8.0, 1000, massive=2), stage(6.0, None, "final")]
