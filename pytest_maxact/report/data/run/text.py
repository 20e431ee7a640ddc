"""The JSON report of a run: its account in, text that the published schema holds for out."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from pytest_maxact.judge.account import Account, Judged
from pytest_maxact.judge.verdict.tally import Tally
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.report.data.run.checks import check_form, number, place_form, waiver_form
from pytest_maxact.report.data.run.form import SCHEMA, VERSION, Checkpoint, Counts, Largest, Measured, RunReport
from pytest_maxact.report.data.series import series_data

MOST_BYTES = 1 << 30


def run_json(account: Account) -> str:
    """As the text of a file. Names that others chose are what they are, but for half a character, which not every
    reader takes; in the file itself nothing stands but ASCII, which no terminal obeys.
    """
    document = _worded(account, run_report(account).model_dump(by_alias=True))
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


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
        waivers=tuple(map(waiver_form, account.waivers)),
        series=series_data(outcome.series) if outcome and outcome.series else None,
    )  # fmt: skip


def _counts(tally: Tally) -> Counts:
    return Counts(
        checks=tally.ran,
        failed=len(tally.breaches),
        waived=len(tally.waived),
        too_close=len(tally.close),
        failed_too_close=tally.close_breaches,
        unjudged=tally.unjudged,
        not_run=tally.left,
        waivers=tally.waivers,
        waivers_failed=tally.failing_waivers,
        waivers_not_run=tally.waivers_left,
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
            Largest(
                value=number(m.value), site=m.site.name, where=m.where, published=m.standing, peak=place_form(m.peak)
            )
            if m
            else None
        ),
        measured=_measured(portrait.provenance) if portrait else None,
        checks=tuple(check_form(judged.name, told) for told in judged.checks),
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
        return account.said(data).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(data, Mapping):
        return {_worded(account, name): _worded(account, value) for name, value in data.items()}
    return [_worded(account, one) for one in data] if isinstance(data, (list, tuple)) else data
