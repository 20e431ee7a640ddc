"""How far the maxima of a Record can be trusted: what its samples tell, what they do not, and the paper's bootstrap."""

import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.figures.drawn import drawn_of
from pytest_maxact.judge.portray import portray
from pytest_maxact.judge.trust.subsets import paper_bootstrap
from pytest_maxact.judge.trust.trust import WITHOUT_INT8, trust_of, trusted_m
from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.record.record import Record
from pytest_maxact.record.summary import summary
from pytest_maxact.report.data.trust import trust_data
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.trust import saturation
from pytest_maxact.report.terminal.record import render_record
from pytest_maxact.report.terminal.screen import Screen
from pytest_maxact.report.terminal.trust import render_subsets, render_trust
from tests.support.records import record

LARGE = "layers.1.hidden"


def plain() -> Record:
    return record({name: np.ones((1, 4)) for name in ("layers.0.hidden", LARGE, "layers.1.gate")})


def told(samples: int = 40, seed: int = 0) -> Record:
    """A Record whose sites keep random maxima of so many samples; the largest of all is 400, of one sample."""
    kept = plain()
    names = [(f"s{i:04d}", "ab"[i % 2], ("calibration", "evaluation")[i % 3 > 0], 10) for i in range(samples)]
    generator = np.random.default_rng(seed)
    sites = {}
    for name, reading in kept.sites.items():
        values = generator.integers(1, 100, samples).astype(np.float32)
        if name == LARGE:
            values[7] = -400.0
        zeros = np.zeros(samples, np.int32)
        held = replace(reading.held, maxima=SampleMaxima(values, zeros + 2, zeros + 1))
        sites[name] = replace(reading, held=held)
    return replace(kept, sites=sites, provenance=replace(kept.provenance, samples=tuple(names)))


def test_m_is_told_with_its_place_and_whether_it_grows() -> None:
    trust = trust_of(told())
    assert trust.m is not None
    assert (trust.m.name, trust.m.site, trust.m.value) == ("M", LARGE, 400.0)
    assert (trust.m.sample, trust.m.position, trust.m.channel) == ("s0007", 2, 1)
    assert trust.m.saturation.holders == 1
    assert trust.m.saturation.last_rose == 80
    assert min(trust.m.halves) < 400.0 == max(trust.m.halves)
    assert trust.m.redrawn[0] < trust.m.redrawn[1] == 400.0
    assert trust.untold == (WITHOUT_INT8,)
    assert trust == trust_of(told())
    assert trusted_m(told()) == replace(trust.m, tail=None), "scipy takes longer to start than a replay"


def test_every_site_is_told_by_its_own_samples() -> None:
    kept = told()
    for found in trust_of(kept).sites:
        maxima = kept[found.site].held.maxima  # type: ignore[union-attr]
        assert maxima is not None
        assert found.value == maxima.magnitudes.max()


def without(kept: Record, site: str) -> Record:
    reading = kept[site]
    return replace(kept, sites={**kept.sites, site: replace(reading, held=replace(reading.held, maxima=None))})


def test_what_is_not_kept_is_named_and_m_is_not_told_without_it() -> None:
    kept = told()
    hidden = trust_of(without(kept, LARGE))
    assert hidden.m is None
    assert hidden.untold == (f"{LARGE}: routing hides which sample an entry is of", WITHOUT_INT8)
    slim = trust_of(summary(kept))
    assert slim.m is None
    assert slim.sites == ()
    assert "slim" in slim.untold[0]
    assert "earlier version" in trust_of(plain()).untold[0]
    assert trusted_m(plain()) is None


def test_a_record_of_an_earlier_version_says_so_though_a_site_of_it_is_nan() -> None:
    kept = record({"layers.0.hidden": np.ones((1, 4)), LARGE: np.array([[np.nan, 1.0, 1.0, 1.0]])})
    assert kept[LARGE].nonfinite
    (untold,) = trust_of(kept).untold
    assert "earlier version" in untold


def test_the_papers_bootstrap_is_of_categories_in_proportion() -> None:
    rows = paper_bootstrap(told(2400))
    assert [(row.size, row.repeat) for row in rows] == [(size, n) for size in (1000, 2000) for n in range(5)]
    assert {row.samples for row in rows} == {1000, 2000}
    found = [row for row in rows if row.m == 400.0]
    assert 0 < len(found) < len(rows)
    assert all(row.site == LARGE for row in found)
    assert rows == paper_bootstrap(told(2400))
    assert {row.size for row in paper_bootstrap(told(1500))} == {1000}
    table = render_subsets("model", rows, Screen())
    assert "global_max_abs" in table
    assert "r4" in table


def test_subsets_of_what_is_too_small_or_not_kept_are_refused() -> None:
    with pytest.raises(InputError, match="40 samples have no subsets of 1000"):
        paper_bootstrap(told())
    with pytest.raises(InputError, match=f"{LARGE} tells nothing of single samples"):
        paper_bootstrap(without(told(1200), LARGE))


@pytest.mark.parametrize("samples", [8, 40])
def test_a_person_reads_it_within_80_columns(samples: int) -> None:
    kept = told(samples)
    text = render_trust(trust_of(kept), Screen())
    assert max(map(len, text.splitlines())) <= 80
    assert "still grows: 1 sample reaches it" in text
    line = render_record(portray(kept), Screen())
    assert "still grows" in line
    assert "carrier" in line
    assert f"channel 1 holds the maximum of all {samples} samples, position 2 that of all" in " ".join(line.split())
    assert "still grows" not in render_record(portray(plain()), Screen())


def spread_out(kept: Record, places: int) -> Record:
    """The same, its samples' maxima at so many positions, one and the same token everywhere."""
    sites = {}
    for name, reading in kept.sites.items():
        maxima = kept[name].held.maxima  # type: ignore[union-attr]
        assert maxima is not None
        positions = np.arange(len(maxima), dtype=np.int32) % places
        tokens = np.full(len(maxima), 7, np.int32)
        between = np.round(2 * np.random.default_rng(3).random(len(maxima)).astype(np.float32)) / 2
        values = np.where(np.abs(maxima.values) < 100, maxima.values + between, maxima.values)
        held = replace(reading.held, maxima=replace(maxima, values=values, positions=positions, tokens=tokens))
        sites[name] = replace(reading, held=held)
    return replace(kept, sites=sites, token_texts={"7": "\x1b[31m"})


def test_more_text_is_told_of_where_no_one_position_carries_m() -> None:
    one, many = trust_of(spread_out(told(400), 1)), trust_of(spread_out(told(400), 9))
    assert one.m is not None
    assert many.m is not None
    assert one.m.tail is not None
    assert "position 0 alone carries it" in one.m.tail.refused
    gate = next(found for found in many.sites if found.site == "layers.1.gate")
    assert gate.tail is not None
    assert [ahead.times for ahead in gate.tail.ahead] == [10, 100]
    told_of = trust_data(many)["sites"]["layers.1.gate"]
    assert told_of["ahead"]["refused"] is None
    assert told_of["ahead"]["times"][0]["interval"] == [gate.tail.ahead[0].low, gate.tail.ahead[0].high]
    assert trust_data(one)["M"]["ahead"]["times"] == []
    figure = saturation(drawn_of(spread_out(told(400), 1)))
    assert isinstance(figure, Figure)
    assert "position 0 alone carries it" in figure.caption, "a page tells what the command does"


def test_without_scipy_it_says_which_extra_tells_it_and_tells_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    trust = trust_of(spread_out(told(400), 9))
    assert trust.m is not None
    assert trust.m.tail is None
    assert trust.m.value == 400.0
    scipy = "what more text would reach: that takes scipy, pip install 'pytest-maxact[tails]'"
    assert trust.untold == (WITHOUT_INT8, scipy)
    assert trust_data(trust)["M"]["ahead"] is None
    text = render_trust(trust, Screen())
    assert re.search(r"^more\? +takes scipy: pip install 'pytest-maxact\[tails\]'$", text, re.MULTILINE)
    assert text.count("scipy") == 1, "it is told where a figure would stand, and not again"
    without_m = render_trust(replace(trust, m=None), Screen(width=120))
    assert "untold" in without_m
    assert "pytest-maxact[tails]" in without_m


def test_who_carries_m_is_shown_and_names_are_shown_as_text() -> None:
    trust = trust_of(spread_out(told(400), 1))
    text = render_trust(trust, Screen(width=120))
    assert (
        "channel 1 holds the maximum of all 400 samples, position 0 that of all, token '\\x1b[31m' that of all" in text
    )
    assert "by place: first 400 (400)" in text
    assert "\x1b" not in text
    carried = trust_data(trust)["M"]["carried"]
    assert carried["alone"] == {"channel": 1, "position": 0, "token": "\x1b[31m"}
    assert carried["by"]["category"][0]["max_abs"] == 400.0
