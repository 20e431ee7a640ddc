"""Records measured under schemes, made by hand, and the limits of fitness for them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pytest_maxact.judge.deploy.fitness import SchemeFitness, fitness_of
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.rules import Ruleset, select_rules, with_fitness
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.sums import SchemeSums
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.record.deployed import AsDeployed
from pytest_maxact.record.effect import Effect
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record
from pytest_maxact.record.scores import LayerScores
from tests.support import records
from tests.support.reports import report_of

SITES = [f"layers.{layer}.{kind}" for layer in range(4) for kind in ("qkv_in", "o_in", "mlp_in", "down_in")]
CALM = {
    name: np.tile([0.5, -1.0, 0.75, 0.25], (6, 1)) for name in ["embedding", "layers.0.hidden", *SITES, "final_norm"]
}


def sums(sqnr_db: float, flushed: float = 0.0, tokens: int = 100) -> SchemeSums:
    """Sums of so many tokens of 10 entries with this SQNR and share of entries that become zero."""
    entries = 10 * tokens
    return SchemeSums(
        tokens=tokens,
        entries=entries,
        nonzero=entries,
        flushed=round(flushed * entries),
        signal=1000.0,
        error=1000.0 * 10 ** (-sqnr_db / 10),
        signal_abs=100.0,
        error_abs=1.0,
        calm_tokens=tokens,
        calm_signal=1000.0,
        calm_error=1.0,
        token_db=((1500, tokens),),
        levels=(0, 1, 2),
    )


def weight(sqnr_db: float, refused: str = "") -> WeightDistortion:
    return WeightDistortion(
        entries=16, sqnr_db=sqnr_db, lowest_db=sqnr_db, rel_rmse=0.1, clip_rate=0.0, flush_to_zero=0.0, refused=refused
    )


def effect(scheme: str, kl: float) -> Effect:
    return Effect(
        scheme=scheme,
        samples=3,
        tokens=64,
        mean_kl=kl,
        kl_q99=10 * kl,
        top1_agreement=1 - kl,
        perplexity=9.0,
        perplexity_ratio=1 + kl,
    )


def measured(
    scheme: str = "W8A8",
    *,
    worst: Mapping[str, SchemeSums] = {},
    weights: Mapping[str, WeightDistortion] = {},
    effects: Mapping[str, Effect] = {},
    usual: SchemeSums | None = None,
    predicts: bool = False,
    scores: tuple[LayerScores, ...] | None = (LayerScores(layer=2, largest=32.0, exact=False),),
) -> Record:
    """A Record of four layers in which a scheme does well at every linear input but those in `worst`, and with every
    weight but those in `weights`.
    """
    record = records.record(CALM, layers=4, hidden_size=4, schemes=(scheme,), predicts=predicts)
    readings: dict[str, SiteReading] = dict(record.sites)
    for name in SITES:
        readings[name] = replace(
            records.holding(
                readings[name],
                schemes={scheme: worst.get(name, usual or sums(40.0))},
                channels=Channels({"a": np.ones(4, np.float32), "b": np.ones(4, np.float32)}),
            ),
            weights={f"{name}.weight": {scheme: weights.get(name, weight(38.0)), "FP16": weight(70.0)}},
        )
    provenance = replace(record.provenance, deployed=AsDeployed())
    return replace(record, provenance=provenance, sites=readings, effects=dict(effects), scores=scores)


def rules_for(record: Record, *schemes: str, limits: Path | None = None, predicts: bool = False) -> Ruleset:
    files = load_limits(limits)
    seen = [reading.site for reading in record.sites.values()]
    rules = select_rules(files, identity_of(record.provenance), seen, "generic")
    return with_fitness(rules, files, seen, checked=schemes, reported=(), predicts=predicts)


def fitness(record: Record, scheme: str = "W8A8", **options: bool) -> SchemeFitness:
    (found,) = fitness_of(record, rules_for(record, scheme, **options).fitness)
    return found


def write(path: Path, text: str) -> Path:
    path.write_text("version: 1\n" + text)
    return path


def report(record: Record, *schemes: str, predicts: bool = False) -> str:
    """The report of a run that checks these schemes."""
    rules = rules_for(record, *schemes, predicts=predicts)
    findings = [check(record, limit) for limit in rules.limits]
    return report_of(record, rules, findings)
