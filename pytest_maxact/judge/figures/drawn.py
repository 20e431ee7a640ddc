"""All that figures of one checkpoint are drawn from: its Record, what it was judged by and found, in; plain data, made
once, out. What draws it computes nothing, and knows no Record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pytest_maxact.judge.figures.against import AgainstDrawn, against_drawn
from pytest_maxact.judge.figures.artifact import ArtifactDrawn, artifact_drawn
from pytest_maxact.judge.figures.cells import Cell, cells_of
from pytest_maxact.judge.figures.distribution import Distributed, distributed
from pytest_maxact.judge.figures.experts import ExpertLayer, expert_layers
from pytest_maxact.judge.figures.low_bits import LowBitRow, low_bits_of
from pytest_maxact.judge.figures.massive import LargeEntry, large_entries
from pytest_maxact.judge.figures.scale import Ranked, ranked
from pytest_maxact.judge.figures.series import SeriesDrawn, series_drawn
from pytest_maxact.judge.figures.stream import Stream, stream_of
from pytest_maxact.judge.figures.trusted import TrustDrawn, trust_drawn
from pytest_maxact.judge.figures.weights import WeightRow, weight_rows
from pytest_maxact.judge.figures.words import called, plain
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.published import standing
from pytest_maxact.judge.series.trend import Stage
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One checkpoint. `limited`: whether it was held against limits. What is None or empty, the Record does not tell,
    or nobody asked for.
    """

    model: str
    model_type: str
    layers: int
    hidden_size: int
    samples: int
    tokens: int
    limited: bool
    carrier: str
    m: float
    massive: bool
    """Whether the residual stream was tested for massive activations."""
    cells: tuple[Cell, ...]
    stream: Stream
    ranked: tuple[Ranked, ...]
    standing: str
    """Where M stands among published checkpoints, in words."""
    distributed: Distributed | None
    low_bits: tuple[LowBitRow, ...]
    large: tuple[LargeEntry, ...]
    experts: tuple[ExpertLayer, ...]
    weights: tuple[WeightRow, ...]
    against: tuple[AgainstDrawn, ...]
    series: SeriesDrawn | None
    artifact: ArtifactDrawn
    trust: TrustDrawn


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
    cells, name = cells_of(record, findings), called(provenance.model)
    stream = stream_of(record, cells)
    return Drawn(
        model=name,
        model_type=plain(provenance.model_type),
        layers=provenance.layers,
        hidden_size=provenance.hidden_size,
        samples=len(provenance.samples),
        tokens=provenance.tokens,
        limited=rules is not None or bool(findings),
        carrier=record.carrier.site.name,
        m=record.carrier.max_abs,
        massive=any(reading.massive for reading in record.sites.values()),
        cells=cells,
        stream=stream,
        ranked=ranked(record, name, stream.family),
        standing=standing(record.carrier.max_abs, provenance.model_type),
        distributed=distributed(record, cells),
        low_bits=low_bits_of(record, findings),
        large=large_entries(record),
        experts=expert_layers(record),
        weights=weight_rows(record),
        against=against_drawn(record, baselines or {}, findings),
        series=series_drawn(stages),
        artifact=artifact_drawn(record),
        trust=trust_drawn(record),
    )
