"""All that figures of one checkpoint are drawn from: its Record, what it was judged by and found, in; plain data, made
once, out. What draws it computes nothing, and knows no Record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_maxact.judge.figures.cells import Cell, cells_of
from pytest_maxact.judge.figures.words import plain
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.series.trend import Stage
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One checkpoint. `limited`: whether it was held against limits."""

    model: str
    model_type: str
    layers: int
    tokens: int
    limited: bool
    cells: tuple[Cell, ...]


def drawn_of(
    record: Record,
    rules: Ruleset | None = None,
    findings: Sequence[Finding] = (),
    baselines: Mapping[str, Record] | None = None,
    stages: Sequence[Stage] = (),
) -> Drawn:
    """`rules` and `findings`: what it was judged by, and what was found; `baselines`: what it is compared with, by
    name; `stages`: the series that it is the last of.
    """
    provenance = record.provenance
    return Drawn(
        model=plain(provenance.model),
        model_type=plain(provenance.model_type),
        layers=provenance.layers,
        tokens=provenance.tokens,
        limited=rules is not None,
        cells=cells_of(record, findings),
    )
