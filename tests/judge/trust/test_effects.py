"""Intervals of what a scheme does to predictions: of its samples, in a form that a verdict can use."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_maxact.judge.trust.effects import trusted_effects
from pytest_maxact.judge.trust.trust import trust_of
from pytest_maxact.record.effect import Effect, SampleEffect
from pytest_maxact.record.record import Record
from pytest_maxact.record.sound.effects import require_sound_samples
from pytest_maxact.report.data.trust import trust_data
from pytest_maxact.report.terminal.screen import Screen
from pytest_maxact.report.terminal.trust import render_trust
from tests.support.records import record


def effect(samples: int = 60, kl: float = 0.1, seed: int = 0) -> Effect:
    generator = np.random.default_rng(seed)
    found = tuple(
        SampleEffect(
            category="ab"[place % 2], tokens=100, predicted=99, kl=float(generator.gamma(2.0, kl / 2.0) * 100),
            stays=int(generator.binomial(100, 0.9)), nll=float(generator.normal(300, 20)),
            nll_under=float(generator.normal(310, 20)),
        )
        for place in range(samples)
    )  # fmt: skip
    tokens, predicted = 100 * samples, 99 * samples
    own, under = sum(one.nll for one in found) / predicted, sum(one.nll_under for one in found) / predicted
    return Effect(
        scheme="W8A8", samples=samples, tokens=tokens, mean_kl=sum(one.kl for one in found) / tokens, kl_q99=1.0,
        top1_agreement=sum(one.stays for one in found) / tokens, perplexity=math.exp(own),
        perplexity_ratio=math.exp(under - own), by_sample=found,
    )  # fmt: skip


def holding(one: Effect) -> Record:
    return replace(
        record({"layers.0.hidden": np.ones((1, 4)), "layers.1.hidden": np.ones((1, 4))}), effects={"W8A8": one}
    )


def test_every_figure_of_an_effect_lies_in_its_interval() -> None:
    found = {one.name: one for one in trusted_effects(holding(effect()))}
    assert list(found) == [f"W8A8.{name}" for name in ("mean_kl", "top1_agreement", "perplexity", "perplexity_ratio")]
    for one in found.values():
        assert one.low < one.value < one.high
        assert one.holds
        assert one.samples == 60
    few = {one.name: one for one in trusted_effects(holding(effect(240)))}
    assert all(few[name].high - few[name].low < one.high - one.low for name, one in found.items())


def test_two_halves_of_the_samples_lie_about_the_figure_and_have_their_categories_in_proportion() -> None:
    whole = effect()
    for one in trusted_effects(holding(whole)):
        assert min(one.halves) < one.value < max(one.halves)
    halves = trusted_effects(holding(whole))[0].halves
    assert sum(halves) / 2 == pytest.approx(whole.mean_kl), "samples have as many tokens each"
    apart = tuple(replace(one, kl=one.tokens * (one.category == "b")) for one in whole.by_sample)
    assert trusted_effects(holding(replace(whole, by_sample=apart)))[0].halves == (0.5, 0.5)
    assert trust_data(trust_of(holding(whole)))["figures"]["W8A8.mean_kl"]["halves"] == list(halves)
    lone = trusted_effects(holding(effect(1)))
    assert all(math.isnan(one.halves[0]) and math.isfinite(one.halves[1]) for one in lone)


def test_few_samples_and_a_divergence_that_is_nan_are_said_not_to_hold() -> None:
    assert not any(one.holds for one in trusted_effects(holding(effect(8))))
    whole = effect()
    broken = replace(
        whole, mean_kl=math.nan, by_sample=(replace(whole.by_sample[0], kl=math.nan), *whole.by_sample[1:])
    )
    found = {one.name: one for one in trusted_effects(holding(broken))}
    assert not found["W8A8.mean_kl"].holds
    assert found["W8A8.top1_agreement"].holds


def test_an_effect_without_a_loss_is_not_told_for_certain() -> None:
    whole = effect()
    same = tuple(replace(one, kl=0.0, stays=one.tokens) for one in whole.by_sample)
    record = holding(replace(whole, mean_kl=0.0, top1_agreement=1.0, by_sample=same))
    found = {one.name: one for one in trusted_effects(record)}
    assert 0.94 < found["W8A8.top1_agreement"].low < 0.96
    assert found["W8A8.top1_agreement"].high == 1.0
    assert not found["W8A8.mean_kl"].holds
    text = render_trust(trust_of(record), Screen())
    assert "too few" not in text
    assert "no interval" in text
    assert max(map(len, text.splitlines())) <= 80


def test_an_effect_of_an_earlier_version_is_named_as_untold() -> None:
    trust = trust_of(holding(replace(effect(), by_sample=())))
    assert trust.figures == ()
    assert any("W8A8: measured by an earlier version" in words for words in trust.untold)


def test_both_reports_say_it() -> None:
    trust = trust_of(holding(effect()))
    low, high = trust_data(trust)["figures"]["W8A8.mean_kl"]["interval"]
    assert low < effect().mean_kl < high
    text = render_trust(trust, Screen())
    assert f"{low:.4g}" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"kl": 0.0}, "kl adds up"),
        ({"stays": 0}, "stays adds up"),
        ({"nll": 1.0}, "nll adds up"),
        ({"nll_under": 1.0}, "nll_under adds up"),
        ({"tokens": 1}, "tokens adds up"),
    ],
)
def test_samples_that_do_not_add_up_to_the_effect_are_refused(change: dict[str, float], what: str) -> None:
    whole = effect()
    first, *others = whole.by_sample
    require_sound_samples("effects.W8A8", whole)
    with pytest.raises(ValueError, match=what):
        require_sound_samples("effects.W8A8", replace(whole, by_sample=(replace(first, **change), *others)))
    with pytest.raises(ValueError, match="by_sample"):
        require_sound_samples("effects.W8A8", replace(whole, by_sample=tuple(others)))
