"""What a run is about: what its checkpoints, baselines and checks are called."""

from dataclasses import replace
from datetime import date

from pytest_maxact.gate.plan import Plan
from pytest_maxact.gate.sources import Source
from pytest_maxact.gate.subject import Subject
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.record.metrics.metric import GROWTH

LIMIT = Limit(site="layers.0.hidden", metric=GROWTH, bound=2.0, sense="max", rule="", source="", file="f", line=1)
WAIVER = Waiver(
    site="layers.*", metric="*", checkpoint="*", reason="r", owner="me", until=date(2026, 1, 1), file="f", line=4
)


def subject(name: str, *waivers: Waiver) -> Subject:
    rules = Ruleset(family="qwen3", shape=None, protocol=None, limits=(LIMIT,), waivers=waivers)
    return Subject(source=Source(name=name, path=f"run/{name}", is_record=False), title=name, rules=rules)


BASELINE = Source(name="v1", path="v1.safetensors", is_record=True)
ALONE = Plan(subjects=(subject("", WAIVER),), baselines=(BASELINE,))
SERIES = Plan(subjects=(subject("a", WAIVER), subject("b", WAIVER)), baselines=(BASELINE,))


def test_ids_are_those_of_the_checks_of_every_checkpoint_and_of_the_waivers() -> None:
    assert ALONE.ids == ("maxact::layers.0.hidden::growth", "maxact::waive::layers.*")
    assert SERIES.ids == (
        "maxact::a::layers.0.hidden::growth",
        "maxact::b::layers.0.hidden::growth",
        "maxact::waive::layers.*",
    )


def test_waivers_of_one_site_are_told_apart_by_their_lines() -> None:
    second = replace(WAIVER, line=8)
    plan = Plan(subjects=(subject("", WAIVER, second, replace(WAIVER, site="*", line=9)),))
    assert [plan.waiver_name(waiver) for waiver in plan.waivers] == ["layers.*:4", "layers.*:8", "*"]


def test_a_waiver_covers_the_checks_of_the_checkpoints_that_it_speaks_about() -> None:
    assert [one.name for one, _ in SERIES.covered(WAIVER)] == ["a", "b"]
    assert [one.name for one, _ in SERIES.covered(replace(WAIVER, checkpoint="b"))] == ["b"]
    assert list(SERIES.covered(replace(WAIVER, site="layers.1.*"))) == []


def test_a_name_is_that_of_a_baseline_or_of_another_checkpoint() -> None:
    assert SERIES.source("v1") is BASELINE
    assert SERIES.source("b") is SERIES.subjects[1].source
    assert SERIES.rules(BASELINE) is None
    assert SERIES.rules(SERIES.source("b")) is SERIES.subjects[1].rules


def test_a_run_that_measures_several_checkpoints_is_a_series_or_has_a_baseline_to_measure() -> None:
    assert SERIES.measures_several
    assert not ALONE.measures_several
    assert replace(ALONE, baselines=(BASELINE, replace(BASELINE, is_record=False))).measures_several
