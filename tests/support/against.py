"""Artifacts against their sources: what was found of the weights of two folders, and Records that hold it."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from pytest_maxact.checkpoint.locate import locate
from pytest_maxact.judge.limits.file import parse_limits
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.verdict import verdict
from pytest_maxact.measure.source.origin import Origin
from pytest_maxact.measure.source.weights import compared_weights
from pytest_maxact.numbers.against import LowWeight, Weights
from pytest_maxact.record.record import Record
from pytest_maxact.record.source import (
    CONFIDENCES,
    PERPLEXITIES,
    QUANTITIES,
    AgainstSource,
    Confidence,
    Departure,
    Estimate,
)
from pytest_maxact.settings.settings import Settings
from tests.support import records

FORM = "gptq int4"
Q = "model.layers.1.self_attn.q_proj.weight"
SOUND = LowWeight(
    form=FORM, entries=64, sqnr_db=19.0, expected_db=19.5, rescaled=0.001, group_loss_db=2.0,
    group="row 3, columns 0 to 7", layer=1,
)  # fmt: skip
CLEAN = Weights(low=1, kept=3, lows={Q: SOUND})


def weights_of(artifact: Path, source: Path) -> Weights:
    """As they are read from the files of both."""
    one, other = Settings(model=str(artifact)), Settings(model=str(source))
    return compared_weights(locate(one), one, Origin(checkpoint=locate(other), settings=other))


def estimate(value: float, spread: float = 0.1) -> Estimate:
    return Estimate(value=value, low=value * (1 - spread), high=value * (1 + spread))


def departure(tokens: int = 48, nonfinite: int = 0, **figures: float) -> Departure:
    """One that passes, but for the figures that are given."""
    usual = dict.fromkeys(QUANTITIES, 0.99) | dict.fromkeys(PERPLEXITIES, 5.0) | {"mean_kl": 0.01}
    told = {name: estimate(figures.get(name, value)) for name, value in usual.items()}
    bins = [
        Confidence(low=low, high=high, tokens=0, mean_kl=estimate(0.01), top1_agreement=estimate(0.5))
        for low, high in pairwise(CONFIDENCES)
    ]
    bins[0] = replace(bins[0], tokens=tokens - nonfinite)
    return Departure(samples=min(24, tokens), tokens=tokens, nonfinite=nonfinite, figures=told, confidence=tuple(bins))


def holding(weights: Weights = CLEAN, predictions: Departure | None = None, form: str = FORM) -> Record:
    """A Record of an artifact, with what was compared; predictions only where they are given."""
    compared = AgainstSource(
        source="base", weights_sha256="0" * 64, form=form, weights=weights, predictions=predictions,
        unpredicted="" if predictions else "no head",
    )  # fmt: skip
    return replace(records.seen(), source=compared)


def judged(record: Record, limits: str = "") -> dict[str, Finding]:
    """Findings against the source, by their checks; `limits`: lines of a file that extends the shipped one."""
    files = parse_limits(f"version: 1\nextends: builtin\n{limits}", Path("limits.yaml"))
    found = verdict(record, files, family="generic")
    return {one.limit.check: one for one in found if one.limit.metric.name.startswith("source_")}


def failing(record: Record, limits: str = "") -> list[str]:
    return sorted(name for name, finding in judged(record, limits).items() if not finding.accepted)
