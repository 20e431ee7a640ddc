"""Where two Records part: at the first site that changed too much, else how far they differ."""

from dataclasses import replace

from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.parting import against, parting_of
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.record import Record
from tests.support.stages import HIDDEN, MLP, limit, stage


def changes(before: Record, after: Record, *limits: Limit) -> list[Finding]:
    return [check(after, each, before) for each in limits]


BEFORE, AFTER = stage(4.0).record, stage(8.0).record
GROWTH = limit(1.5, HIDDEN, "growth", "v1")


def test_the_first_site_that_breaches_is_named_with_its_figures() -> None:
    parting = parting_of(AFTER, changes(BEFORE, AFTER, GROWTH, limit(1.5, MLP, "growth", "v1")))
    assert parting is not None
    assert parting.first is not None
    assert (parting.first.name, parting.metric, parting.value, parting.bound) == (HIDDEN, "growth", 2.0, 1.5)
    assert (parting.changed, parting.sites) == (1, 4)


def test_what_holds_does_not_part() -> None:
    assert parting_of(BEFORE, changes(BEFORE, BEFORE, GROWTH)) is None
    assert parting_of(BEFORE, []) is None


def test_a_change_of_the_whole_model_has_no_site() -> None:
    massive = stage(4.0, massive=2).record
    parting = parting_of(massive, changes(BEFORE, massive, limit(0.0, "model", "new_massive_layers", "v1")))
    assert parting is not None
    assert (parting.first, parting.changed, parting.value) == (None, 0, 1.0)


def test_how_a_breach_is_worded_changes_nothing() -> None:
    breaches = changes(BEFORE, AFTER, GROWTH)
    assert parting_of(AFTER, breaches) == parting_of(AFTER, [replace(one, message="") for one in breaches])


def test_sites_are_compared_only_where_nothing_breaches() -> None:
    broken = against("v1", BEFORE, AFTER, changes(BEFORE, AFTER, GROWTH))
    assert broken.parting is not None
    assert broken.comparison is None
    sound = against("v1", BEFORE, AFTER, [])
    assert sound.parting is None
    assert sound.comparison is not None
    assert (sound.before.m, sound.after.m, sound.same_weights) == (4.0, 8.0, True)
