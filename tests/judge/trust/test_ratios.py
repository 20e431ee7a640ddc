"""Intervals of signal over error at sites: they hold the truth as often as they say, of samples and of groups, about a
figure that may be of more than the sums are.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pytest_maxact.judge.trust.interval import IntervalKind
from pytest_maxact.judge.trust.ratios import Ratios
from pytest_maxact.judge.trust.trust import trust_of
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.bootstrap import Bootstrap
from pytest_maxact.numbers.energies import SampleSums, codes_of, energies_of
from pytest_maxact.numbers.sums import SchemeSums
from pytest_maxact.record.metrics.metric import INT8_SQNR, Metric
from pytest_maxact.record.metrics.value import metric_value
from pytest_maxact.record.record import Record
from pytest_maxact.record.units import GROUPS, units_of
from pytest_maxact.report.data.trust import trust_data
from pytest_maxact.report.terminal.screen import Screen
from pytest_maxact.report.terminal.trust import render_trust
from tests.support.findings import HIDDEN, limit
from tests.support.records import bf16, provenance, record

SITE = "layers.0.qkv_in"
W8A8 = Metric.parse("W8A8.sqnr_db")
Floats = Any


def samples_of(count: int, categories: int = 2) -> tuple[tuple[str, str, str, int], ...]:
    return tuple((f"s{at:05d}", "abcdefgh"[at % categories], "evaluation", 10) for at in range(count))


def having(signal: Floats, error: Floats, categories: int = 2) -> Record:
    """A site whose samples had these energies under W8A8."""
    tokens = len(signal)
    sums = SchemeSums(
        tokens=tokens, entries=4 * tokens, nonzero=4 * tokens, signal=signal.sum(), error=error.sum(), signal_abs=1.0,
        error_abs=1.0,
    )  # fmt: skip
    values = bf16(np.linspace(0.5, 1.5, 1600).reshape(400, 4))
    plain = record({SITE: values, HIDDEN: values})
    held = replace(plain[SITE].held, schemes={"W8A8": sums})  # type: ignore[arg-type, call-arg]
    where = replace(plain.provenance, samples=samples_of(tokens, categories))
    kept = SampleSums(codes_of(signal), {"W8A8": codes_of(error)}).summed(units_of(where).places)
    reading = replace(plain[SITE], held=replace(held, sampled=kept))  # type: ignore[call-arg]
    return replace(plain, sites={**plain.sites, SITE: reading}, provenance=where)


def drawn(generator: np.random.Generator, samples: int) -> tuple[Floats, Floats]:
    signal = 1e4 * generator.gamma(3.0, 1.0, samples)
    return signal, 0.001 * signal * np.exp(generator.normal(0.0, 0.5, samples) - 0.125)


def found(record: Record, bound: float, close: str = "warn") -> Finding:
    (finding,) = judge(record, [limit(bound, SITE, "W8A8.sqnr_db", "min")], None, close=close)
    return finding


@pytest.mark.parametrize("samples", [80, 2000])
def test_93_to_97_of_a_hundred_intervals_hold_the_truth_of_samples_and_of_groups(samples: int) -> None:
    """500 sets of samples in four categories, their energies rounded as a Record keeps them."""
    generator = np.random.default_rng(5)
    pairs = [drawn(generator, samples) for _ in range(500)]
    units = units_of(replace(provenance(), samples=samples_of(samples, 4)))
    assert len(units.strata) == min(samples, GROUPS)

    def rounded(which: int) -> Floats:
        kept = [SampleSums(codes_of(pair[which])).summed(units.places) for pair in pairs]
        return np.stack([energies_of(one.signal) for one in kept], 1)

    ends = Bootstrap(units.strata).intervals(rounded(1), rounded(0))
    assert 0.93 <= np.mean([low <= 0.001 <= high for low, high in ends]) <= 0.97


def test_the_interval_is_in_decibels_about_the_figure_and_narrows_with_more_samples() -> None:
    generator = np.random.default_rng(1)
    widths = []
    for samples in (40, 160, 2560):
        ratios = Ratios(having(*drawn(generator, samples)))
        one = ratios.of(SITE, W8A8)
        assert one is not None
        assert one.low < one.value < one.high
        assert min(one.halves) < one.value < max(one.halves)
        assert (one.samples, one.site, one.holds) == (samples, SITE, True)
        widths.append(one.high - one.low)
    assert widths[0] > 1.5 * widths[1] > 3 * widths[2]


def test_the_same_seed_gives_the_same_and_of_another_site_nothing_is_told() -> None:
    record = having(*drawn(np.random.default_rng(2), 40))
    assert Ratios(record).every == Ratios(record).every != Ratios(record, seed=1).every
    assert Ratios(record).of("layers.1.qkv_in", W8A8) is None
    assert Ratios(record).of(SITE, Metric.parse("FP8.sqnr_db")) is None


def test_one_site_is_taken_alone_and_all_others_at_once_with_the_same_ends() -> None:
    """A verdict mostly asks for one of hundreds."""
    record = having(*drawn(np.random.default_rng(6), 40))
    names = [f"layers.{layer}.down_in" for layer in range(4)]
    alike = [replace(record[SITE], site=replace(record[SITE].site, layer=layer)) for layer in range(4)]
    record = replace(record, sites=dict(zip(names, alike, strict=True)))
    ratios, taken = Ratios(record), []
    own = ratios._told
    ratios._told = lambda sites, metric: taken.append(list(sites)) or own(sites, metric)  # type: ignore
    found = [ratios.of(name, W8A8) for name in (names[2], names[2], "layers.9.down_in", *names)]
    assert taken == [[names[2]], [names[0], names[1], names[3]]]
    assert found[2] is None
    ends = [(one.low, one.high) for one in found if one is not None]
    assert len(ends) == 6
    assert set(ends) == {ends[0]}, "to the last digit"


def test_without_any_error_there_is_nothing_to_tell() -> None:
    assert Ratios(having(np.ones(40), np.zeros(40))).every == ()


def test_the_ends_lie_about_the_figure_of_all_tokens_where_that_is_exact() -> None:
    """What is kept says how far; a figure 3 dB off what the sampled tokens have is moved whole."""
    signal, error = drawn(np.random.default_rng(3), 60)
    record = having(signal, error)
    (plain,) = Ratios(record).every
    sums = record[SITE].held.schemes["W8A8"]  # type: ignore[union-attr]
    louder = replace(record[SITE].held, schemes={"W8A8": replace(sums, error=sums.error * 2)})  # type: ignore
    (moved,) = Ratios(replace(record, sites={SITE: replace(record[SITE], held=louder)})).every
    off = 10 * math.log10(2)
    assert [plain.low - moved.low, plain.high - moved.high] == pytest.approx([off, off])


def test_a_limit_inside_the_interval_is_too_close_to_call_and_more_text_would_decide() -> None:
    record = having(*drawn(np.random.default_rng(4), 40))
    (one,) = Ratios(record).every
    assert one.value - one.low > 0.7, "wider than measuring again moves it"
    for bound, passed, close in (
        (one.low - 0.1, True, False), (one.low + 0.1, True, True), (one.value + 0.1, False, True),
        (one.high + 0.1, False, False),
    ):  # fmt: skip
        finding = found(record, bound)
        assert (finding.passed, finding.close) == (passed, close), bound
        assert finding.interval is not None
        assert finding.interval.kind is IntervalKind.AVERAGE
        assert (finding.interval.low, finding.interval.high) == (one.low, one.high)
    assert "more tokens of such text would decide" in found(record, one.low + 0.1).message
    assert not found(record, one.low + 0.1, "fail").passed


def test_a_limit_on_the_relative_error_is_judged_as_that_on_the_ratio() -> None:
    record = having(*drawn(np.random.default_rng(4), 40))
    (one,) = Ratios(record).every
    for bound in (one.low - 0.1, one.low + 0.1, one.value - 0.1, one.value + 0.1, one.high - 0.1, one.high + 0.1):
        in_decibels = found(record, bound)
        (finding,) = judge(record, [limit(10 ** (-bound / 20), SITE, "W8A8.rel_rmse", "max")], None)
        assert (finding.passed, finding.close) == (in_decibels.passed, in_decibels.close), bound
        told, other = finding.interval, in_decibels.interval
        assert told is not None
        assert other is not None
        assert told.kind is IntervalKind.AVERAGE
        assert told.low < finding.value < told.high
        assert told.moved is not None
        ends = [-20 * math.log10(end) for end in (told.high, told.low, *reversed(told.moved))]
        assert ends == pytest.approx([other.low, other.high, *(other.moved or ())])


def test_the_noise_floor_stands_beside_the_ends_and_makes_a_limit_close_too() -> None:
    signal = np.full(4000, 100.0) * np.random.default_rng(6).uniform(0.9, 1.1, 4000)
    record = having(signal, signal / 1000 * np.random.default_rng(7).uniform(0.9, 1.1, 4000))
    (one,) = Ratios(record).every
    assert one.value - one.low < 0.1
    finding = found(record, one.value - 0.3)
    assert finding.interval is not None
    assert finding.interval.moved == pytest.approx((one.value - 0.6, one.value + 0.6))
    assert (finding.interval.low, finding.interval.high) == (one.low, one.high)
    assert (finding.passed, finding.close) == (True, True)
    assert finding.message.endswith(f"measured again it may be {one.value - 0.6:.4g} dB")
    assert not found(record, one.value - 0.7).close


def test_an_int8_ratio_has_an_interval_too_beside_what_another_scale_would_give() -> None:
    generator = np.random.default_rng(10)
    signal, error = drawn(generator, 60)
    plain = having(signal, error)
    int8 = SampleSums(codes_of(signal), {"max_abs": codes_of(error)})
    told = replace(plain[SITE].held, sampled=None, int8=int8)  # type: ignore[call-arg]
    record = replace(plain, sites={**plain.sites, SITE: replace(plain[SITE], held=told)})
    value = metric_value(record[SITE], INT8_SQNR)
    (finding,) = judge(record, [limit(value - 0.3, SITE, INT8_SQNR.name, "min")], None)
    assert finding.interval is not None
    assert finding.interval.kind is IntervalKind.AVERAGE
    assert finding.interval.moved is not None
    assert finding.interval.low < value < finding.interval.high
    (one,) = Ratios(record).every
    assert (one.name, one.site) == ("int8.max_abs.sqnr_db", SITE)
    (same,) = Ratios(plain).every
    ends = [same.low - same.value, same.high - same.value]
    assert [one.low - value, one.high - value] == pytest.approx(ends, abs=2e-6)
    other = Metric.parse("int8.clip_q0.999.sqnr_db"), Metric.parse("int4.max_abs.sqnr_db")
    assert [Ratios(record).of(SITE, metric) for metric in other] == [None, None]


def test_of_too_few_samples_no_such_interval_is_told() -> None:
    signal, error = drawn(np.random.default_rng(8), 60)
    signal[19:] = error[19:] = 0.0
    for few in (having(signal[:19], error[:19]), having(signal, error)):
        finding = found(few, 30.0)
        assert finding.interval is not None
        assert finding.interval.kind is IntervalKind.REPEATED
        assert "other text to evaluate on is no part of it (too few samples: 19)" in finding.interval.meaning


def test_a_figure_that_one_sample_carries_has_no_lower_end_and_no_limit_below_it_is_kept_plainly() -> None:
    signal, error = drawn(np.random.default_rng(11), 80)
    error[5] *= 1e5
    record = having(signal, error)
    (one,) = Ratios(record).every
    assert one.holds
    assert one.low == -math.inf
    finding = found(record, one.value - 20.0)
    assert (finding.passed, finding.close) == (True, True)
    assert not found(record, one.value - 20.0, "fail").passed
    assert "95 % interval -inf to " in finding.message
    text = render_trust(trust_of(record), Screen(width=80))
    assert f"{SITE} W8A8 {one.value:.4g} -inf {one.high:.4g}" in " ".join(text.split())


def test_ids_in_the_order_of_energies_make_groups_no_more_alike() -> None:
    """Samples of eight sources, one after the other, 100 sets; of groups in the order of ids 83 hold the truth."""
    generator = np.random.default_rng(12)
    units = units_of(replace(provenance(), samples=samples_of(1000, 1)))
    sources = np.sort(generator.integers(0, 8, (1000, 100)), axis=0)
    rates = 0.001 * np.exp(np.linspace(-2.0, 2.0, 8))
    signal, _ = drawn(generator, 100_000)
    signal = signal.reshape(1000, 100)
    summed = [np.stack([np.bincount(units.places, one) for one in table.T], 1)
              for table in (signal * rates[sources], signal)]  # fmt: skip
    ends = Bootstrap(units.strata).intervals(*summed)
    assert np.mean([low <= rates.mean() <= high for low, high in ends]) > 0.9


def test_of_a_part_that_keeps_many_samples_groups_are_drawn() -> None:
    signal, error = drawn(np.random.default_rng(13), 1200)
    whole = having(signal, error, 4)
    each = replace(whole[SITE].held, sampled=SampleSums(codes_of(signal), {"W8A8": codes_of(error)}))  # type: ignore
    part = replace(
        whole, sites={SITE: replace(whole[SITE], held=each)}, provenance=replace(whole.provenance, shard="1/2")
    )
    (one,), (other,) = Ratios(part).every, Ratios(whole).every
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=2e-3)
    assert one.samples == 1200


def test_trust_tells_a_person_and_a_program() -> None:
    record = having(*drawn(np.random.default_rng(9), 60))
    trust = trust_of(record)
    (one,) = trust.ratios
    text = render_trust(trust, Screen(width=80))
    assert max(map(len, text.splitlines())) <= 80
    assert " ".join(f"{SITE} W8A8 {one.value:.4g} {one.low:.4g} {one.high:.4g}".split()) in " ".join(text.split())
    told = trust_data(trust)["ratios"][SITE]["W8A8.sqnr_db"]
    assert told["interval"] == [one.low, one.high]
    untold = replace(record[SITE].held, sampled=None)  # type: ignore[call-arg]
    old = replace(record, sites={**record.sites, SITE: replace(record[SITE], held=untold)})
    assert any("signal over error of schemes" in words for words in trust_of(old).untold)
