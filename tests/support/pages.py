"""Pages of Records made by hand, by the road that every door takes: a Record is opened, judged and accounted for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pytest_maxact.cli.words import argument
from pytest_maxact.gate.account import account_of, note_all
from pytest_maxact.gate.conclude import all_reported, conclude
from pytest_maxact.gate.session import open_session
from pytest_maxact.judge.account import Account
from pytest_maxact.judge.figures.drawn import drawn_of
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.rules import select_rules, with_fitness
from pytest_maxact.judge.limits.source import with_source
from pytest_maxact.judge.outcome import Checkpoint, Outcome
from pytest_maxact.judge.portray import portray
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.judge.verdict.tally import Told, tally_of
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.numbers.sites import LINEAR_KINDS, Site
from pytest_maxact.record.file import save
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record
from pytest_maxact.report.figures.every import figures_of
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.html.page import render_page
from pytest_maxact.settings.settings import Settings
from tests.support import against, fitness, records
from tests.support.drawing import model_of, with_everything
from tests.support.large import noisy

LIMITS = """\
version: 1
extends: builtin
families:
  tiny:
    model_types: [qwen3]
    limits: {hidden: 9.0}
"""


def accounted(replay: Path | str, **settings: object) -> Account:
    """Of a Record's file, or of a pattern of them."""
    session = open_session(Settings(replay=str(replay), **settings))  # type: ignore[arg-type]
    for subject in session.plan.subjects:
        session.judging.every(subject)
    note_all(session)
    outcome = conclude(session, all_reported(session), drawn=True)
    return account_of(session, outcome, (), argument, Path.cwd())


def told(
    record: Record, *, schemes: tuple[str, ...] = (), predicts: bool = False, title: str = "made by hand"
) -> Account:
    """Of a Record that no file could hold, judged by generic limits, with these schemes among the checks."""
    files, sites = load_limits(), [reading.site for reading in record.sites.values()]
    rules = select_rules(files, identity_of(record.provenance), sites, "generic")
    rules = with_source(rules, files, record.source.compared if record.source else None, asked=False)
    if schemes:
        rules = with_fitness(rules, files, sites, checked=schemes, reported=(), predicts=predicts)
    findings = tuple(judge(record, rules.limits))
    checkpoint = Checkpoint(
        title=title,
        portrait=portray(record, rules, findings),
        findings=findings,
        checks=len(findings),
        drawn=drawn_of(record, rules, findings),
    )
    verdict = tally_of([Told(checkpoint="", finding=finding) for finding in findings])
    outcome = Outcome(checkpoints=(checkpoint,), ran=len(findings), verdict=verdict)
    return Account(verdict="PASS" if verdict.passed else "FAIL", outcome=outcome, faults=(), words=argument)


def drawn(account: Account) -> tuple[Figure, ...]:
    latest = account.outcome.measured[-1] if account.outcome and account.outcome.measured else None
    return figures_of(latest.drawn) if latest and latest.drawn else ()


def page_of(account: Account) -> str:
    return render_page(account, drawn(account))


def kept(record: Record, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    save(record, path)
    return path


def _limits(folder: Path) -> str:
    path = folder / "limits.yaml"
    path.write_text(LIMITS)
    return str(path)


def _single(folder: Path) -> Account:
    """Four layers in low bits, of which the last input of two layers does badly."""
    bad = {name: fitness.sums(9.0, 0.5) for name in ("layers.1.down_in", "layers.2.down_in")}
    record = fitness.measured(worst=bad, effects={"W8A8": fitness.effect("W8A8", 0.02)}, predicts=True)
    return told(record, schemes=("W8A8",), predicts=True)


def _breach(folder: Path) -> Account:
    record = records.seen(24.0, first=12.0, kind="mlp_output")
    return accounted(kept(record, folder / "breach.record.safetensors"), limits=_limits(folder), family="tiny")


def _baseline(folder: Path) -> Account:
    before = kept(records.seen(8.0), folder / "before.record.safetensors")
    after = kept(records.seen(64.0), folder / "after.record.safetensors")
    return accounted(after, family="generic", baseline=(str(before),))


def _series(folder: Path) -> Account:
    for step, value in ((500, 4.0), (1000, 6.0), (1500, 8.5), (2000, 24.0)):
        kept(records.seen(value), folder / "run" / f"checkpoint-{step}.record.safetensors")
    pattern = folder / "run" / "checkpoint-*.record.safetensors"
    return accounted(pattern, limits=_limits(folder), family="tiny", horizon=9000)


def _artifact(folder: Path) -> Account:
    worse = replace(against.SOUND, sqnr_db=12.0, rescaled=0.04)
    record = against.holding(replace(against.CLEAN, lows={against.Q: worse}), against.departure(mean_kl=0.4))
    return told(record)


def _whole(folder: Path) -> Account:
    """Of a Record that was asked everything: schemes and their effect, stress, what its samples had, faults of its
    tensors.
    """
    return told(with_everything(model_of(12)))


def _deep(folder: Path) -> Account:
    """A mixture of experts of 96 layers, of which one expert was given nothing, and which is too loud at one site."""
    rng = np.random.default_rng(0)
    every = [noisy("bfloat16", 1e9, scale, rng) for scale in (0.02, 0.2, 2.0)]
    few = [Histogram("bfloat16", one.bins[::32], one.counts[::32]) for one in every]
    tokens = tuple(int(count) for count in np.arange(128) * 1000)
    kinds = ("hidden", "attn_output", "mlp_output", "gate", "router", *LINEAR_KINDS)

    def reading(rank: int, one: Site) -> SiteReading:
        largest = 70_144.0 if one.name == "layers.90.hidden" else 40.0 * (1 + rank % 97)
        peaks = tuple(
            Peak(
                value=largest - place,
                sample=f"math-{place:02d}",
                position=place,
                token="The",
                token_id=5,
                channel=place,
            )
            for place in range(3)
        )
        return SiteReading(
            site=one,
            dtype="bfloat16",
            width=5120,
            held=Distributions(calibration=few[rank % 3], evaluation=few[rank % 3]),
            peaks=peaks,
            massive=Massive(tokens=one.layer or 0, entries=one.layer or 0, max_ratio=1200.0)
            if one.kind == "hidden"
            else None,
            tokens_per_expert=tokens if one.kind == "router" else None,
        )

    shallow = records.seen()
    sites = {one.name: reading(rank, one) for rank, one in enumerate(records.sites(96, kinds))}
    provenance = replace(shallow.provenance, layers=96, hidden_size=5120)
    return told(replace(shallow, sites=sites, provenance=provenance))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kind of page, and the account that it is of."""

    name: str
    account: Callable[[Path], Account]


CASES = {
    case.name: case
    for case in (
        Case(name="single", account=_single),
        Case(name="breach", account=_breach),
        Case(name="baseline", account=_baseline),
        Case(name="series", account=_series),
        Case(name="artifact", account=_artifact),
        Case(name="whole", account=_whole),
        Case(name="deep", account=_deep),
    )
}
