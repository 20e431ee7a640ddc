"""Accounts of runs made by hand, with a check of every outcome, and names of others in every place that has one."""

from dataclasses import replace
from pathlib import Path

from pytest_maxact.judge.account import Account, CheckTold, Judged, WaiverTold
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.outcome import Checkpoint, Outcome
from pytest_maxact.judge.portray import portray
from pytest_maxact.judge.statement.schema import CheckOutcome
from pytest_maxact.judge.trust.interval import Interval, IntervalKind
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.tally import Told, tally_of
from pytest_maxact.numbers.peaks import Around
from pytest_maxact.record.record import Record
from pytest_maxact.settings.option import pytest_option
from tests.support import records
from tests.support.findings import INT8, limit
from tests.support.waivers import waiver

ROOT = Path("/repo")
HIDDEN = "layers.0.hidden"
BETWEEN = Interval(
    kind=IntervalKind.MAXIMUM, low=30.5, high=float("inf"), samples=12, meaning="other text reaches it nearly always"
)


def record_named(name: str) -> Record:
    """A Record whose model, sample and token are called so, and the text around it."""
    values = {site: [[1.0, -2.0, 0.5, 24.0]] for site in ("embedding", HIDDEN, "layers.1.hidden", "final_norm")}
    made = records.record(values, model=name)
    around = Around(before=name, after=name)
    sites = {
        site: replace(one, peaks=tuple(replace(peak, token=name, sample=name, around=around) for peak in one.peaks))
        for site, one in made.sites.items()
    }
    return replace(made, sites=sites)


def account_of_all(name: str = "plain", root: Path = ROOT) -> Account:
    """A run in which one check holds, one breaches, one is waived, one is too close, one could not be judged and one
    was not run, a waiver fails and something else went wrong; `name`: what others called all that they could.
    """
    record, file = record_named(name), str(root / name / "limits.yaml")
    held, breach, let_pass, close = (
        check(record, replace(one, file=file))
        for one in (
            limit(100.0),
            limit(8.0, site="layers.1.hidden"),
            limit(2.0, site="final_norm"),
            replace(limit(20.0, metric=INT8, sense="min"), line=9),
        )
    )
    by = replace(waiver(site="final_norm"), owner=name, reason=name, file=file)
    findings = {
        "held": held, "does not hold": breach, "waived": replace(let_pass, waiver=by),
        "close": replace(close, close=True, interval=BETWEEN),
    }  # fmt: skip
    told = [
        _told("held", held.limit, held),
        _told("does not hold", breach.limit, breach),
        _told("waived", let_pass.limit, findings["waived"]),
        _told("held", close.limit, findings["close"]),
        _told("could not be judged", replace(limit(3.0, site=name), file=file), None),
        _told("not run", replace(limit(3.0, site="embedding"), file=file), None),
    ]
    faults = (f"could not measure {name}: weights are gone", f"the waiver of {name} is stale")
    concluded = Checkpoint(
        name=name, node=f"maxact::{name}", label=name, title=name, findings=tuple(findings.values()), checks=6,
        portrait=portray(record, None, ()), ran=frozenset(one.limit.check for one in told[:5]),
    )  # fmt: skip
    outcome = Outcome(
        checkpoints=(concluded,),
        ran=6,
        verdict=tally_of([Told(checkpoint=name, finding=one) for one in findings.values()], None, faults, unknown=2),
        faults=faults,
        waiver_faults=faults[1:],
        baselines=(name,),
    )
    return Account(
        verdict="FAIL",
        outcome=outcome,
        faults=faults,
        checkpoints=(
            Judged(
                name=name, title=name, source=name, is_record=False, family="qwen3", limits=(file,),
                checks=tuple(replace(one, id=f"maxact::{name}::{one.limit.check}") for one in told),
                concluded=concluded, provenance=record.provenance,
            ),
        ),
        waivers=(WaiverTold(id=f"maxact::waive::{name}", became="does not hold", waiver=by, fault=faults[1]),),
        asked={"model": name},
        words=pytest_option,
        root=root,
        about=name,
    )  # fmt: skip


def _told(became: CheckOutcome, limited: Limit, finding: Finding | None) -> CheckTold:
    return CheckTold(id="", became=became, limit=limited, finding=finding, why="" if finding else "weights are gone")
