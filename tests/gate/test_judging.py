"""The checks of a run: each judged once, waived where somebody answers for it; what only asks measures nothing."""

import math
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from pytest_maxact.errors import MaxactError, MeasureError
from pytest_maxact.gate import judging as under_test
from pytest_maxact.gate.candidate import open_source
from pytest_maxact.gate.judging import Judging
from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.records import Records
from pytest_maxact.gate.sources import Source
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.record.file import save
from pytest_maxact.record.metrics.metric import GROWTH, MAX_ABS
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings
from tests.support import records

HIGH = Limit(site="layers.1.hidden", metric=MAX_ABS, bound=4.0, sense="max", rule="r", source="", file="f", line=1)
LOW = replace(HIGH, site="layers.0.hidden")
GROWN = replace(HIGH, metric=GROWTH, bound=2.0, against="v1")
WAIVER = Waiver(
    site="layers.1.*", metric="*", checkpoint="*", reason="r", owner="me", until=date(2999, 1, 1), file="f", line=4
)
TESTED, BASELINE = (Source(name=name, path=f"{name}.safetensors", is_record=True) for name in ("", "v1"))


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(
    *limits: Limit,
    tested: Record | None = None,
    baseline: Record | None = None,
    waivers: tuple[Waiver, ...] = (),
) -> tuple[Judging, Subject, Records]:
    """The judging of a run that has these Records; of what is None nobody has asked yet, and there is no file of it."""
    rules = Ruleset(family="qwen3", shape=None, protocol=None, limits=limits, waivers=waivers)
    subject = Subject(source=TESTED, title="t", rules=rules, against=("v1",))
    plan = Plan(subjects=(subject,), baselines=(BASELINE,))
    settings, opened = Settings(replay=TESTED.path), []
    for source, record in ((TESTED, tested), (BASELINE, baseline)):
        if record is not None:
            save(record, source.path)
            opened.append(open_source(source, settings))
    found = Records(settings, plan, opened)
    return Judging(plan, found), subject, found


def test_every_limit_is_a_finding_in_the_order_of_the_rules() -> None:
    judging, subject, _ = run(HIGH, LOW, tested=records.seen(8.0))
    assert [(found.limit, found.value, found.accepted) for found in judging.every(subject)] == [
        (HIGH, 8.0, False),
        (LOW, 2.0, True),
    ]


def test_a_run_without_limits_is_no_verdict() -> None:
    judging, subject, _ = run(tested=records.seen())
    with pytest.raises(MeasureError, match="nothing was checked"):
        judging.every(subject)


def test_a_check_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judging, subject, _ = run(HIGH, tested=records.seen())
    found = judging.check(subject, HIGH)
    monkeypatch.delattr(under_test, "check")
    assert judging.check(subject, HIGH) is found


def test_a_waiver_answers_for_what_it_speaks_about_and_never_for_what_is_broken() -> None:
    judging, subject, _ = run(HIGH, LOW, tested=records.seen(8.0, first=8.0), waivers=(WAIVER,))
    high, low = judging.every(subject)
    assert (high.passed, high.accepted, high.waiver) == (False, True, WAIVER)
    assert (low.accepted, low.waiver) == (False, None)
    judging, subject, _ = run(HIGH, tested=records.seen(math.nan), waivers=(WAIVER,))
    assert not judging.check(subject, HIGH).accepted


def test_a_relative_check_is_judged_against_its_baseline() -> None:
    judging, subject, _ = run(GROWN, tested=records.seen(8.0), baseline=records.seen(2.0))
    assert (judging.check(subject, GROWN).value, judging.check(subject, GROWN).accepted) == (4.0, False)


def test_a_broken_baseline_is_refused_at_every_check_that_needs_it_alone() -> None:
    second = replace(GROWN, site="layers.0.hidden")
    judging, subject, _ = run(GROWN, second, LOW, tested=records.seen(8.0), baseline=records.seen(math.inf))
    for limit in (GROWN, second, GROWN):
        with pytest.raises(MeasureError, match=r"v1 is broken itself, layers\.1\.hidden"):
            judging.check(subject, limit)
    assert judging.check(subject, LOW).accepted
    assert [found.limit for found in judging.known(subject)] == [LOW]


def test_what_is_known_needs_no_record_that_nobody_has_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    judging, subject, found = run(HIGH, GROWN, tested=records.seen())
    monkeypatch.setattr(found, "obtain", lambda source, showing: found.known(source) or pytest.fail("obtained"))
    assert judging.is_settled(subject, HIGH)
    assert not judging.is_settled(subject, GROWN)
    assert [known.limit for known in judging.known(subject)] == [HIGH]
    judging, subject, _ = run(HIGH, GROWN)
    assert judging.known(subject) == []


def test_a_record_that_could_not_be_had_settles_its_checks_and_gives_no_finding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judging, subject, found = run(HIGH, GROWN, tested=records.seen())
    with pytest.raises(MaxactError, match=r"no Record at v1\.safetensors"):
        judging.check(subject, GROWN)
    assert found.failure(BASELINE)
    assert judging.is_settled(subject, GROWN)
    assert [known.limit for known in judging.known(subject)] == [HIGH]
    with pytest.raises(MaxactError, match=r"no Record at v1\.safetensors"):
        judging.every(subject)
