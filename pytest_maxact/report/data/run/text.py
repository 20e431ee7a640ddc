"""The JSON report of a run: its account in, text that the published schema holds for out."""

import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from pytest_maxact.judge.account import Account, CheckTold, Judged, WaiverTold
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.verdict.tally import Tally
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.report.data.run.form import (
    SCHEMA,
    VERSION,
    Check,
    Checkpoint,
    Counts,
    Largest,
    Measured,
    Number,
    Place,
    RunReport,
    Waived,
    WaiverCheck,
)
from pytest_maxact.report.data.series import series_data

MOST_BYTES = 1 << 30


def run_json(account: Account) -> str:
    """As the text of a file. Names that others chose are written as they are, but for half a character, which no file
    can hold.
    """
    document = _worded(account, run_report(account).model_dump(by_alias=True))
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def is_run_report(path: Path) -> bool:
    """Whether a file is a report of ours, of any version: what may be replaced by one."""
    try:
        document = json.loads(path.read_bytes()[:MOST_BYTES])
        return str(document["schema"]).startswith(SCHEMA.removesuffix("v1"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def run_report(account: Account) -> RunReport:
    """What a program is told of a run."""
    outcome = account.outcome
    tally = outcome.verdict if outcome else None
    return RunReport(
        schema_=SCHEMA,
        version=VERSION,
        made_by={
            "pytest-maxact": version("pytest-maxact"), "pytest": version("pytest"), "python": python_version()
        },
        finished=account.finished,
        verdict=account.verdict,
        rests=tally.rests.strip() if tally else "",
        counts=_counts(tally) if tally else None,
        faults=account.faults,
        warnings=tally.warnings if tally else (),
        settings=dict(account.asked),
        limits=account.limits,
        baselines=outcome.baselines if outcome else (),
        checkpoints=tuple(map(_checkpoint, account.checkpoints)),
        waivers=tuple(map(_waiver_check, account.waivers)),
        series=series_data(outcome.series) if outcome and outcome.series else None,
    )  # fmt: skip


def number(value: float) -> Number:
    """A finite number, or a word for what is none."""
    if math.isnan(value):
        return "nan"
    return float(value) if math.isfinite(value) else "inf" if value > 0 else "-inf"


def _counts(tally: Tally) -> Counts:
    return Counts(
        checks=tally.ran,
        failed=len(tally.breaches),
        waived=len(tally.waived),
        not_run=tally.left,
        waivers=tally.waivers,
        waivers_failed=tally.failing_waivers,
    )


def _checkpoint(judged: Judged) -> Checkpoint:
    concluded = judged.concluded
    portrait = concluded.portrait if concluded else None
    m = portrait.m if portrait else None
    return Checkpoint(
        name=judged.name,
        title=judged.title,
        given=judged.source,
        is_record=judged.is_record,
        step=concluded.step if concluded else None,
        family=judged.family,
        limits=judged.limits,
        failure=concluded.failure if concluded else None,
        m=(
            Largest(value=number(m.value), site=m.site.name, where=m.where, published=m.standing, peak=_place(m.peak))
            if m
            else None
        ),
        measured=_measured(portrait.provenance) if portrait else None,
        checks=tuple(_check(judged.name, told) for told in judged.checks),
    )


def _check(checkpoint: str, told: CheckTold) -> Check:
    finding, limit = told.finding, told.limit
    reading = finding.reading if finding else None
    return Check(
        check=told.id,
        outcome=told.became,
        checkpoint=checkpoint,
        site=finding.site if finding else limit.site,
        limited=limit.site,
        layer=reading.site.layer if reading else None,
        metric=limit.metric.name,
        baseline=limit.against or None,
        value=number(finding.value) if finding else None,
        limit=number(limit.bound),
        sense="min" if limit.sense == "min" else "max",
        headroom=number(1 - finding.usage) if finding and not math.isnan(finding.usage) else None,
        passed=finding.passed if finding else None,
        inside_noise=finding.is_noise if finding else False,
        waived=_waived(finding.waiver) if finding and finding.waiver else None,
        rule=limit.rule,
        source=limit.source,
        file=limit.file,
        line=limit.line,
        message=finding.message if finding else told.why,
        peak=_place(next(iter(reading.peaks), None)) if reading else None,
    )


def _waiver_check(told: WaiverTold) -> WaiverCheck:
    waiver = told.waiver
    return WaiverCheck(
        check=told.id,
        outcome=told.became,
        site=waiver.site,
        metric=waiver.metric,
        checkpoint=waiver.checkpoint,
        fault=told.fault,
        waiver=_waived(waiver),
    )


def _waived(waiver: Waiver) -> Waived:
    return Waived(
        owner=waiver.owner,
        reason=waiver.reason,
        until=waiver.until.isoformat(),
        up_to=number(waiver.up_to) if waiver.up_to is not None else None,
        file=waiver.file,
        line=waiver.line,
    )


def _place(peak: Peak | None) -> Place | None:
    if peak is None:
        return None
    return Place(
        value=number(peak.value),
        sample=peak.sample,
        position=peak.position,
        token=peak.token,
        token_id=peak.token_id,
        channel=peak.channel,
        part=peak.part,
    )


def _measured(provenance: Provenance) -> Measured:
    same = (
        *("model", "revision", "weights_sha256", "model_type", "family", "layers", "hidden_size", "config_sha256"),
        *("tokenizer_sha256", "protocol", "corpus", "corpus_sha256", "tokens_sha256", "tokens", "max_seq_len"),
        *("dtype", "stored", "device", "placement", "arithmetic", "attention", "shard", "schemes", "left_out"),
    )
    return Measured(
        **{name: getattr(provenance, name) for name in same},
        files=dict(provenance.files),
        samples=len(provenance.samples),
        versions=dict(provenance.versions),
    )


def _worded(account: Account, data: Any) -> Any:
    """Every text with its settings as the user types them, and writable."""
    if isinstance(data, str):
        return account.said(data).encode(errors="surrogatepass").decode(errors="replace")
    if isinstance(data, Mapping):
        return {_worded(account, name): _worded(account, value) for name, value in data.items()}
    return [_worded(account, one) for one in data] if isinstance(data, (list, tuple)) else data
