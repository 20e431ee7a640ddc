"""What a verdict rests on: how wide its limits are, and how much text stands behind it."""

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.gate.session import open_session
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.rules import Ruleset, select_rules
from pytest_maxact.judge.limits.schema.family import MeasuredOn
from pytest_maxact.judge.limits.schema.sections import FoundOn
from pytest_maxact.judge.strength import Amount, strength_of, weakest
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.record.file import save
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.metrics.metric import MAX_ABS
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings
from tests.support.records import seen

TEXT = FoundOn(tokens=16_000_000, samples=5_000, least_tokens=0.001, least_samples=0.01)


def rules_of(record: Record) -> Ruleset:
    sites = [reading.site for reading in record.sites.values()]
    return replace(select_rules(load_limits(), identity_of(record.provenance), sites), text=TEXT)


def test_the_words_of_pass_name_the_widest_envelope_limit_and_the_share_of_the_text() -> None:
    record = seen(8.0)
    rules = rules_of(record)
    findings = judge(record, rules.limits)
    widest = max(
        finding.limit.bound / finding.value
        for finding in findings
        if finding.limit.metric.name == "max_abs" and finding.limit.sense == "max"
    )
    strength = strength_of(rules, 168, 60, findings)
    assert widest == 35328.0
    assert strength.words == (" against envelope limits (widest 35 300 x above what was found), on 168 tokens of 16 M")


def test_limits_of_the_shape_that_are_near_on_all_of_the_text_leave_pass_plain() -> None:
    rules = rules_of(seen(8.0))
    near = [
        replace(finding, limit=replace(finding.limit, envelope=False, bound=finding.value * 2))
        for finding in judge(seen(8.0), rules.limits)
    ]
    assert strength_of(rules, 16_000_000, 5_000, near).words == ""
    far = [replace(near[0], limit=replace(near[0].limit, bound=near[0].value * 4, metric=MAX_ABS)), *near[1:]]
    assert strength_of(rules, 16_000_000, 5_000, far).words == " against limits up to 4 x above what was found"


@pytest.mark.parametrize(
    ("tokens", "samples", "told"),
    [
        (16_000, 50, ""),
        (15_999, 50, "15 999 tokens of 16 M that the limits were found on; a verdict needs 16 000 tokens at least"),
        (16_000, 49, "49 samples of 5 000 that the limits were found on; a verdict needs 50 samples at least"),
        (1, 1, "1 token of 16 M and 1 sample of 5 000 that the limits were found on; a verdict needs 16 000 tokens"),
        (0, 0, "0 tokens of 16 M"),
    ],
)
def test_too_little_text_is_told(tokens: int, samples: int, told: str) -> None:
    shortage = strength_of(rules_of(seen(8.0)), tokens, samples).shortage
    assert shortage.startswith(f"too little text: {told}") if told else shortage == ""


def test_figures_of_a_shape_that_say_what_they_were_measured_on_are_the_measure() -> None:
    measured = MeasuredOn(corpus="ours", sha256="0" * 12, tokens=1_000, dtype="bfloat16")
    rules = replace(rules_of(seen(8.0)), measured=measured)
    assert strength_of(rules, 1_000, 3).shortage == ""
    assert strength_of(rules, 500, 3).words == " on 500 tokens of 1 000"


def test_of_several_checkpoints_the_weakest_counts() -> None:
    rules = rules_of(seen(8.0))
    strengths = [strength_of(rules, 20_000, 60, judge(seen(8.0), rules.limits)), strength_of(rules, 30_000, 10)]
    found = weakest(strengths)
    assert found is not None
    assert (found.tokens.seen, found.samples.seen, found.envelope) == (20_000, 10, True)
    assert found.widest == strengths[0].widest
    assert weakest([]) is None


def test_strict_refuses_too_little_text_before_anything_is_judged(tmp_path: Path) -> None:
    save(seen(8.0), tmp_path / "a.safetensors")
    replayed = Settings(replay=str(tmp_path / "a.safetensors"))
    open_session(replayed)
    with pytest.raises(InputError, match="too little text: 2 tokens of 16 M and 2 samples of 5 000"):
        open_session(replace(replayed, strict=True))


def test_nothing_stands_above_zero() -> None:
    rules = rules_of(seen(8.0))
    nothing = [replace(finding, value=0.0, passed=True) for finding in judge(seen(8.0), rules.limits)]
    assert strength_of(rules, 168, 60, nothing).widest == 0.0


def test_the_smaller_share_of_what_was_read_is_the_weaker() -> None:
    rules = rules_of(seen(8.0))
    measured = MeasuredOn(corpus="ours", sha256="0" * 12, tokens=1_000, dtype="bfloat16")
    half, little = strength_of(replace(rules, measured=measured), 500, 3), strength_of(rules, 20_000, 60)
    for given in ([half, little], [little, half]):
        found = weakest(given)
        assert found is not None
        assert found.tokens == little.tokens


def test_where_no_file_says_how_much_text_is_enough_any_is() -> None:
    measured = MeasuredOn(corpus="ours", sha256="0" * 12, tokens=1_000, dtype="bfloat16")
    found = strength_of(replace(rules_of(seen(8.0)), measured=measured, text=None), 1, 1)
    assert found.tokens == Amount(what="token", seen=1, of=1_000, least=0.0)
    assert found.samples == Amount(what="sample", seen=1, of=0, least=0.0)
    assert found.shortage == ""


@pytest.mark.parametrize(
    ("factor", "told"),
    [(3.99, ""), (4.0, "4"), (819.4, "819"), (999.4, "999"), (999.7, "1 000"), (1000.0, "1 000"), (35_328.0, "35 300")],
)
def test_how_wide_limits_are_is_told_to_three_digits(factor: float, told: str) -> None:
    (finding, *_) = (one for one in judge(seen(8.0), rules_of(seen(8.0)).limits) if one.limit.metric == MAX_ABS)
    wide = replace(finding, limit=replace(finding.limit, envelope=False, bound=factor * finding.value))
    words = strength_of(rules_of(seen(8.0)), 16_000_000, 5_000, [wide]).words
    assert words == (f" against limits up to {told} x above what was found" if told else "")


def test_static_scales_that_one_of_several_leaves_unchecked_are_said_of_all() -> None:
    rules = rules_of(seen(8.0))
    checked, unchecked = (strength_of(rules, 16_000_000, 5_000, (), unscaled) for unscaled in (False, True))
    assert checked.words == ""
    assert unchecked.words == " with static scales unchecked"
    found = weakest([unchecked, checked])
    assert found is not None
    assert found.unscaled
