"""What a card and a bill of materials say in numbers: an account in, a list of figures out, each with its interval
where it has one. One list, so that both say the same.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_maxact.errors import shown
from pytest_maxact.judge.account import Account, Judged
from pytest_maxact.judge.deploy.fitness import SchemeFitness
from pytest_maxact.judge.limits.limit import MODEL
from pytest_maxact.judge.portrait import Portrait
from pytest_maxact.judge.trust.interval import Interval, IntervalKind
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.exceedance import LEVEL, Exceeding
from pytest_maxact.record.metrics.metric import INT8_SQNR
from pytest_maxact.record.provenance import Provenance

SOURCE = "pytest-maxact"
URL = "https://github.com/pytest-maxact/pytest-maxact"
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """One figure, or a word, by its `type`, with its interval where it has one. `about`: what it is of, and how it
    came about.
    """

    type: str
    name: str
    value: float | str
    interval: Interval | None = None
    about: Mapping[str, str | int | float] = field(default_factory=dict)


def subject_of(account: Account) -> Judged | None:
    """The checkpoint that is released: the only one, or the last of a series."""
    return account.checkpoints[-1] if account.checkpoints else None


def portrait_of(account: Account) -> Portrait | None:
    judged = subject_of(account)
    return judged.concluded.portrait if judged and judged.concluded else None


def model_name(account: Account) -> str:
    """As it is called by others: of a path its last part alone, for it leaves this machine."""
    judged, portrait = subject_of(account), portrait_of(account)
    model = account.model or (portrait.provenance.model if portrait else judged.source if judged else "unknown")
    return shown(Path(model).name or model)[:_LONGEST]


def corpus_name(provenance: Provenance) -> str:
    return shown(Path(provenance.corpus).name or provenance.corpus)[:_LONGEST]


def stated(account: Account) -> Iterator[Stated]:
    """The verdict first, and it alone of a run that has no Record."""
    yield verdict_of(account)
    judged, portrait = subject_of(account), portrait_of(account)
    if judged is None or portrait is None:
        return
    yield _maximum(portrait)
    if not portrait.m.nonfinite:  # of what is finite there alone, it would praise a broken model
        value, site = portrait.int8.max_abs.sqnr_db, portrait.m.site.name
        findings = (told.finding for told in judged.checks if told.finding and told.limit.metric == INT8_SQNR)
        yield Stated(
            type="int8_sqnr",
            name="SQNR of INT-8 per tensor at the site of M, in dB",
            value=value,
            interval=_interval_at(findings, (value, site)),
            about={"site": site, "scale": "largest magnitude"},
        )
    for row in portrait.deploy:
        yield from _of_scheme(row.fitness)


def verdict_of(account: Account) -> Stated:
    """PASS where all that there was to check was checked; where something was left out it is PARTIAL."""
    verdict = account.outcome.verdict if account.outcome else None
    return Stated(
        type="maxact_verdict",
        name="verdict of the release gate",
        value=account.verdict,
        about=(
            {
                "checks": verdict.ran,
                **({"unjudged": verdict.unjudged} if verdict.unjudged else {}),
                "not_run": verdict.left,
                "would_fail": verdict.failing,
                **({"waivers_not_run": verdict.waivers_left} if verdict.waivers_left else {}),
            }
            if verdict
            else {}
        ),
    )


def _maximum(portrait: Portrait) -> Stated:
    """With what another corpus of the same size reaches, and in how many of such cases at least, and with how often the
    next sample lies above it. It has no interval: nobody knows how far unseen text goes.
    """
    trust, provenance = portrait.trust, portrait.provenance
    return Stated(
        type="max_activation",
        name="M, the largest activation magnitude",
        value=portrait.m.value,
        about={
            "site": portrait.m.site.name,
            **(beyond(trust.beyond) if trust else {}),
            **measured(provenance),
        },
    )


def beyond(found: Exceeding) -> dict[str, float]:
    """What M says of text that was not seen."""
    again = found.again
    return {
        "next_sample_above_at_most": found.rate,
        "next_sample_above_confidence": LEVEL,
        **({"another_corpus_reaches": again, "another_corpus_reaches_in": found.reached} if again is not None else {}),
    }


def confidence(interval: Interval | None) -> tuple[float, float] | None:
    """The ends of an interval of 95 %, both of them; None of what is none."""
    if interval is None or interval.kind is not IntervalKind.AVERAGE:
        return None
    ends = interval.low, interval.high
    return ends if all(map(math.isfinite, ends)) else None


def measured(provenance: Provenance) -> dict[str, str | int | float]:
    """On what text, and how."""
    return {
        "tokens": provenance.tokens,
        "samples": len(provenance.samples),
        "corpus": corpus_name(provenance),
        "corpus_sha256": provenance.corpus_sha256,
        "protocol": provenance.protocol,
        "dtype": provenance.dtype,
        "arithmetic": provenance.arithmetic or "unknown",
        "device": provenance.device,
        "weights_sha256": provenance.weights_sha256,
        **{f"version_{name}": said for name, said in provenance.versions.items()},
    }


def _of_scheme(scheme: SchemeFitness) -> Iterator[Stated]:
    yield Stated(
        type=f"{scheme.scheme}.fits",
        name=f"whether it can be served in {scheme.scheme}",
        value=scheme.fits.lower() if scheme.fits != "?" else "not known",
        about={"checks": len(scheme.findings), "that_do_not_hold": len(scheme.breaches)},
    )
    for what, lowest in (("inputs", scheme.lowest), ("weights", scheme.lowest_weight)):
        if lowest is not None:
            yield Stated(
                type=f"{scheme.scheme}.lowest_sqnr.{what}",
                name=f"lowest SQNR of {what} of linear layers in {scheme.scheme}, in dB",
                value=lowest[0], interval=_interval_at(scheme.findings, lowest), about={"site": lowest[1]},
            )  # fmt: skip
    for finding in scheme.findings:
        if finding.limit.site == MODEL:
            yield Stated(
                type=finding.limit.metric.name,
                name=f"{finding.limit.metric.quantity} of predictions in {scheme.scheme}",
                value=finding.value, interval=finding.interval, about={"limit": finding.limit.bound},
            )  # fmt: skip


def _interval_at(findings: Iterable[Finding], lowest: tuple[float, str]) -> Interval | None:
    """Of the check that found this very figure."""
    return next((one.interval for one in findings if one.site == lowest[1] and one.value == lowest[0]), None)
