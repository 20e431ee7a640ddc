"""Waivers are read with their line, cover whole names, and hold until their day."""

import math
import time
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.rules import GENERIC, select_rules
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.waiving import expired, waived, waiver_fault
from pytest_maxact.record.identity import Identity
from tests.support.records import sites
from tests.support.waivers import DAY, ENTRY, HEAD, HIDDEN, TODAY, failing, holding, limit, of, refusal, waiver

# From YAML


def test_an_entry_is_read_with_its_line(tmp_path: Path) -> None:
    text = (
        "waive:\n  - site: layers.3.hidden\n    metric: max_abs\n    reason: ' seen in training '\n    owner: ann\n   "
        " until: 2026-03-31\n  - {" + ENTRY
    )
    first, second = of(text + ", checkpoint: final}", tmp_path)
    assert (first.site, first.metric, first.checkpoint, first.reason, first.owner, first.until) == (
        "layers.3.hidden", "max_abs", "*", "seen in training", "ann", DAY,
    )  # fmt: skip
    assert (first.file, first.line, second.line) == (str(tmp_path / "limits.yaml"), 4, 9)
    assert (second.metric, second.checkpoint) == ("*", "final")
    assert first.words == "waived until 2026-03-31 by ann: seen in training"


def test_an_entry_of_a_family_speaks_about_that_family_only(tmp_path: Path) -> None:
    text = f"waive: [{{{ENTRY}, family: qwen3}}, {{{ENTRY}}}]"
    assert len(of(text, tmp_path)) == 2
    assert len(of(text, tmp_path, "gemma")) == 1
    assert len(of(text, tmp_path, GENERIC)) == 1


def test_rules_of_a_checkpoint_hold_the_waivers_of_its_family(tmp_path: Path) -> None:
    path = tmp_path / "limits.yaml"
    path.write_text(f"{HEAD}waive: [{{{ENTRY}, family: qwen3}}, {{{ENTRY}, family: qwen2}}]")
    identity = Identity(model_type="qwen3", layers=2, hidden_size=64)
    (found,) = select_rules(load_limits(path), identity, sites(2)).waivers
    assert found.site == "layers.3.hidden"
    assert select_rules(load_limits(path), identity, sites(2), GENERIC).waivers == ()


@pytest.mark.parametrize(
    "until",
    [
        "'2026-03-31'",
        "31.03.2026",
        "2026-03-31 12:00:00",
        "2026-03-31T23:59:59Z",
        "20260331",
        "never",
        "2026-3",
        "~",
        ".inf",
        "1.5",
        "true",
    ],
)
def test_a_day_is_written_as_a_date_and_as_nothing_else(until: str, tmp_path: Path) -> None:
    message = refusal(f"waive:\n  - site: a\n    reason: r\n    owner: o\n    until: {until}\n", tmp_path)
    assert message.startswith(f"{tmp_path / 'limits.yaml'}:7: waive.0.until: ")


def test_a_day_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    assert "limits.yaml:4: malformed YAML" in refusal(
        "waive:\n  - {site: a, reason: r, owner: o, until: 2026-02-30}\n", tmp_path
    )


@pytest.mark.parametrize("key", ["site", "reason", "owner", "until"])
def test_who_what_why_and_until_when_are_required(key: str, tmp_path: Path) -> None:
    left = ", ".join(part for part in ENTRY.split(", ") if not part.startswith(key))
    assert f"limits.yaml:4: waive.0.{key}: " in refusal(f"waive:\n  - {{{left}}}\n", tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("site: ''", "waive.0.site"),
        ("metric: ''", "waive.0.metric"),
        ("checkpoint: ''", "waive.0.checkpoint"),
        ("owner: ' '", "waive.0.owner"),
        ("reason: ''", "waive.0.reason"),
        ("metrics: max_abs", "waive.0.metrics: unknown key; did you mean 'metric'?"),
        ("family: ''", "waive.0.family"),
    ],
)
def test_empty_patterns_and_unknown_keys_are_refused(change: str, said: str, tmp_path: Path) -> None:
    kept = [part for part in ENTRY.split(", ") if part.split(":")[0] != change.split(":")[0]]
    assert said in refusal(f"waive: [{{{', '.join([*kept, change])}}}]", tmp_path)


@pytest.mark.parametrize(
    "metric", ["", "metric: '*', ", "metric: max_*, ", "metric: 'int[48].max_abs.sqnr_db', ", "metric: 'rm?', "]
)
def test_a_value_up_to_which_it_holds_is_of_one_metric(metric: str, tmp_path: Path) -> None:
    assert "limits.yaml:3: waive.0: " in (message := refusal(f"waive: [{{{metric}{ENTRY}, up_to: 9.5}}]", tmp_path))
    assert "`up_to` is a value of one metric, and `metric` names none, or several; say which" in message


@pytest.mark.parametrize("value", [".nan", ".inf", "'9'", "true"])
def test_a_value_up_to_which_it_holds_is_a_finite_number(value: str, tmp_path: Path) -> None:
    assert "waive.0.up_to" in refusal(f"waive: [{{metric: max_abs, {ENTRY}, up_to: {value}}}]", tmp_path)
    (found,) = of(f"waive: [{{metric: max_abs, {ENTRY}, up_to: 9}}]", tmp_path)
    assert found.up_to == 9.0


# What it covers


@pytest.mark.parametrize(
    ("pattern", "site", "covered"),
    [
        (HIDDEN, HIDDEN, True),
        (HIDDEN, "layers.10.hidden", False),
        ("layers.?.hidden", "layers.10.hidden", False),
        ("layers.*", "layers.10.gate", True),
        ("layers.*", "final_norm", False),
        ("layers.[0-2].*", "layers.3.gate", False),
        ("hidden", HIDDEN, False),
        ("Layers.0.hidden", HIDDEN, False),
        ("*", "model", True),
        ("layers.*", "model", False),
        ("layers.*", "carrier", False),
    ],
)
def test_a_site_pattern_covers_whole_names(pattern: str, site: str, covered: bool) -> None:
    assert waiver(site=pattern).covers(limit(site=site), "") == covered


@pytest.mark.parametrize(
    ("pattern", "metric", "covered"),
    [
        ("*", "max_abs", True),
        ("max_abs", "max_abs", True),
        ("max_abs", "growth", False),
        ("growth", "growth", True),
        ("int8.*", "int8.max_abs.sqnr_db", True),
        ("*.drop", "int8.max_abs.sqnr_db.drop", True),
        ("*.drop", "int8.max_abs.sqnr_db", False),
        ("*", "nonfinite", False),
        ("nonfinite", "nonfinite", False),
        ("non*", "nonfinite", False),
    ],
)
def test_a_metric_pattern_covers_whole_names_and_never_non_finite_entries(
    pattern: str, metric: str, covered: bool
) -> None:
    assert waiver(metric=pattern).covers(limit(metric=metric), "") == covered


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("*", "", True),
        ("*", "step-500", True),
        ("step-*", "step-500", True),
        ("step-*", "", False),
        ("final", "step-500", False),
        ("?*", "", False),
    ],
)
def test_a_checkpoint_pattern_covers_a_name_and_the_only_checkpoint_has_none(
    pattern: str, name: str, covered: bool
) -> None:
    assert waiver(checkpoint=pattern).covers(limit(), name) == covered


# Until when


def test_it_holds_on_its_last_day_and_not_on_the_next() -> None:
    assert not expired(waiver(), DAY - timedelta(days=400))
    assert not expired(waiver(), DAY)
    assert expired(waiver(), DAY + timedelta(days=1))


def test_days_are_counted_in_utc_when_none_is_given() -> None:
    assert not expired(waiver(until=TODAY + timedelta(days=1)))
    assert expired(waiver(until=TODAY - timedelta(days=2)))


@pytest.mark.parametrize("zone", ["Etc/GMT-14", "Etc/GMT+12"])
def test_where_a_machine_stands_moves_no_day(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any hour one of these zones has another day than UTC."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        now = datetime.now(timezone.utc).date()
        assert not expired(waiver(until=now))
        assert expired(waiver(until=now - timedelta(days=1)))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_failing_check_is_accepted_until_then_and_says_by_whom() -> None:
    finding = failing()
    found = waived(finding, [waiver()], today=DAY)
    assert (found.waiver, found.accepted, found.passed, found.message) == (waiver(), True, False, finding.message)
    late = waived(finding, [waiver()], today=DAY + timedelta(days=1))
    assert (late.waiver, late.accepted) == (None, False)


def test_the_first_that_holds_lets_it_pass() -> None:
    old, elsewhere, good = waiver(until=date(2020, 1, 1)), waiver(site="final_norm"), waiver(metric="max_abs")
    assert waived(failing(), [old, elsewhere, good], today=DAY).waiver == good
    assert waived(failing(), [old, elsewhere], today=DAY).waiver is None


@pytest.mark.parametrize(
    ("metric", "sense", "value", "better"),
    [("max_abs", "max", 8.0, 7.99), ("int8.max_abs.rel_rmse", "min", 0.0, 0.001)],
)
def test_up_to_a_value_and_no_further(metric: str, sense: str, value: float, better: float) -> None:
    record, bound = holding(8.0), limit(1.0, metric=metric, sense=sense)
    finding = check(record, bound)
    assert (finding.value, finding.passed) == (value, False)
    assert waived(finding, [waiver(metric=metric, up_to=value)], today=DAY).accepted
    beyond = waived(finding, [waiver(metric=metric, up_to=better)], today=DAY)
    assert not beyond.accepted
    assert beyond.message == f"{finding.message}; beyond what the waiver of ann lets pass, {better:g} (limits.yaml:4)"
    assert waived(finding, [waiver(metric=metric, up_to=better), waiver()], today=DAY).waiver == waiver()
    assert waiver_fault(waiver(metric=metric, up_to=better), [("", beyond)], DAY) is None, (
        "its check fails, so it is not stale"
    )


def test_a_change_without_measure_is_beyond_every_value() -> None:
    finding = check(holding(1.0), limit(2.0, metric="growth", against="v1"), holding(0.0))
    assert finding.value == math.inf
    assert not waived(finding, [waiver(metric="growth", up_to=1e300)], today=DAY).accepted


def test_a_check_that_holds_needs_none() -> None:
    finding = check(holding(0.5), limit())
    assert waived(finding, [waiver()], today=DAY) is finding


def test_it_speaks_about_its_own_checkpoint() -> None:
    mine = [waiver(checkpoint="final")]
    assert waived(failing(), mine, "final", DAY).accepted
    assert not waived(failing(), mine, "step-500", DAY).accepted
    assert not waived(failing(), mine, "", DAY).accepted
