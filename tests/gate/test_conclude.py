"""The outcome of a run: what ran, what was found, and what went wrong, from Records alone."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_maxact.errors import MeasureError
from pytest_maxact.gate.conclude import Reported, all_reported, conclude
from pytest_maxact.gate.judging import Judging
from pytest_maxact.gate.ledger import Ledger
from pytest_maxact.gate.records import Records
from pytest_maxact.gate.session import GateSession, open_session
from pytest_maxact.record.file import save
from pytest_maxact.record.record import Record
from pytest_maxact.report.html.tables import series_table
from pytest_maxact.report.terminal.verdict import across_words
from pytest_maxact.settings.settings import Settings
from tests.support import records


def measured(maximum: float = 4.0) -> Record:
    values = {site.name: [[0.5, 0.25, 1.0, 0.125]] for site in records.sites(2)}
    values["layers.1.hidden"] = [[maximum, 0.3125, 1.0, 0.125]]
    return records.record(values)


@pytest.fixture
def run(tmp_path: Path) -> GateSession:
    save(measured(), tmp_path / "a.safetensors")
    return open_session(Settings(replay=str(tmp_path / "a.safetensors")))


@pytest.fixture
def series(tmp_path: Path) -> GateSession:
    for step, maximum in ((100, 4.0), (200, 64.0)):
        other = measured(maximum)
        provenance = replace(other.provenance, weights_sha256=str(step)[0] * 64)
        save(replace(other, provenance=provenance), tmp_path / f"step-{step}.safetensors")
    return open_session(Settings(replay=str(tmp_path / "step-*.safetensors"), horizon=1000))


def test_a_run_whose_checks_all_ran_and_hold_has_passed(run: GateSession) -> None:
    outcome = conclude(run, all_reported(run))
    (checkpoint,) = outcome.checkpoints
    assert checkpoint.portrait is not None
    assert outcome.verdict is not None
    assert outcome.verdict.passed
    assert outcome.verdict.ran == outcome.checks == len(checkpoint.findings) == len(run.plan.ids)
    assert checkpoint.ran == {limit.check for limit in run.plan.latest.rules.limits}
    assert (outcome.series, outcome.faults, checkpoint.name) == (None, (), "")


def test_a_run_of_nothing_is_no_verdict_and_keeps_what_went_wrong(run: GateSession) -> None:
    outcome = conclude(run, Reported(run=frozenset(), failed=frozenset(), troubles=["the run was broken off"]))
    assert (outcome.ran, outcome.verdict, outcome.measured) == (0, None, ())
    assert outcome.faults == ("the run was broken off",)
    assert outcome.checks == len(run.plan.ids)


def test_checks_that_did_not_run_are_not_in_the_verdict(run: GateSession) -> None:
    one = run.plan.ids[0]
    outcome = conclude(run, Reported(run={one}, failed=frozenset()))
    assert outcome.verdict is not None
    assert (outcome.verdict.ran, outcome.verdict.left, outcome.verdict.unknown) == (1, outcome.checks - 1, 0)


def test_an_item_that_failed_though_its_check_holds_fails_the_run(run: GateSession) -> None:
    outcome = conclude(run, Reported(run=set(run.plan.ids), failed={run.plan.ids[3]}))
    assert outcome.verdict is not None
    assert not outcome.verdict.passed
    assert outcome.faults == (f"1 check was broken off by an error outside of the gate, the first {run.plan.ids[3]}",)


def test_a_breach_explains_the_item_that_failed(tmp_path: Path) -> None:
    save(measured(math.inf), tmp_path / "a.safetensors")
    run = open_session(Settings(replay=str(tmp_path / "a.safetensors")))
    first = conclude(run, all_reported(run))
    assert first.verdict is not None
    breached = {f"maxact::{told.finding.limit.check}" for told in first.verdict.breaches}
    assert breached
    outcome = conclude(run, Reported(run=set(run.plan.ids), failed=breached))
    assert outcome.faults == ()
    assert outcome.verdict is not None
    assert not outcome.verdict.passed
    assert outcome.verdict.broken == (("", "layers.1.hidden"),)


def test_a_series_has_a_portrait_of_each_its_rows_and_where_they_part(series: GateSession) -> None:
    outcome = conclude(series, all_reported(series))
    assert [(one.name, one.node, one.step) for one in outcome.measured] == [
        ("step-100", "maxact::step-100", 100),
        ("step-200", "maxact::step-200", 200),
    ]
    assert [one.portrait.m.value for one in outcome.measured if one.portrait] == [4.0, 64.0]
    assert outcome.series is not None
    assert [row.m for row in outcome.series.milestones] == [4.0, 64.0]
    (parted,) = outcome.series.parted
    assert (parted.before, parted.after) == ("step-100", "step-200")
    assert outcome.series.outlook is not None
    assert outcome.series.outlook.horizon == 1000


def test_what_a_checkpoint_is_compared_with_is_in_its_portrait(tmp_path: Path) -> None:
    for name, maximum in (("a", 4.0), ("v1", 8.0)):
        save(measured(maximum), tmp_path / f"{name}.safetensors")
    run = open_session(Settings(replay=str(tmp_path / "a.safetensors"), baseline=(str(tmp_path / "v1.safetensors"),)))
    (checkpoint,) = conclude(run, all_reported(run)).checkpoints
    assert checkpoint.portrait is not None
    (against,) = checkpoint.portrait.against
    assert (against.name, against.before.m, against.after.m) == ("v1", 8.0, 4.0)


def test_checks_of_a_checkpoint_that_could_not_be_measured_are_counted_and_their_number_is_whole(
    series: GateSession,
) -> None:
    (first, second), settings = series.plan.subjects, series.settings
    found = [(first.source, measured()), (second.source, MeasureError("weights are gone"))]
    lost = GateSession(
        settings=settings, plan=series.plan, records=(has := Records(settings, series.plan, found=found)),
        judging=Judging(series.plan, has), ledger=Ledger(),
    )  # fmt: skip
    outcome = conclude(lost, all_reported(lost))
    verdict = outcome.verdict
    assert verdict is not None
    assert verdict.faults == (f"could not measure {second.name}: weights are gone",)
    assert (verdict.ran, verdict.unjudged, verdict.left) == (len(first.rules.limits), len(second.rules.limits), 0)
    assert verdict.ran + verdict.unjudged == outcome.checks
    some = conclude(lost, Reported(run=set(lost.plan.ids[:-1]), failed=frozenset())).verdict
    assert some is not None
    assert (some.ran, some.unjudged, some.left) == (verdict.ran, verdict.unjudged - 1, 1)


def test_checkpoints_of_which_no_check_ran_are_not_among_those_that_hold(series: GateSession) -> None:
    first = series.plan.subjects[0]
    both = conclude(series, all_reported(series))
    own = {f"{first.node}::{limit.check}" for limit in first.rules.limits}
    one = conclude(series, Reported(run=own, failed=frozenset()))
    assert len(one.measured) == len(both.measured) == 2, "Records are there without a check"
    assert (across_words(one), across_words(both)) == (" of 1 checkpoint", " of 2 checkpoints")
    assert one.series
    assert both.series
    rows, whole = series_table(one.series, one.checkpoints).rows, series_table(both.series, both.checkpoints).rows
    many = [checkpoint.checks for checkpoint in one.checkpoints]
    assert [row.cells[-1].text for row in rows] == [f"{many[0]} hold", f"{many[1]} not run"]
    assert [(row.state, row.cells[-1].state) for row in rows] == [("", "good"), ("warn", "warn")]
    assert whole[0].cells[-1].text == f"{many[0]} hold"
    assert "not run" not in whole[1].cells[-1].text


def test_concluding_twice_gives_the_same(series: GateSession) -> None:
    assert repr(conclude(series, all_reported(series))) == repr(conclude(series, all_reported(series)))
