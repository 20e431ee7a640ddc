"""The arithmetic of sums over tokens: they add in any order, and what is read out of them is that of the tokens."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_maxact.numbers.sums import DB_BINS, DB_LOWEST, DB_PER_BIN, SchemeSums, decibel

_WHOLE = st.integers(0, 1 << 20)
_ENERGY = _WHOLE.map(float)  # whole numbers: their sums are exact in any order
_SUMS = st.builds(
    SchemeSums,
    tokens=_WHOLE,
    entries=_WHOLE,
    nonzero=_WHOLE,
    clipped=_WHOLE,
    flushed=_WHOLE,
    calm_tokens=_WHOLE,
    signal=_ENERGY,
    error=_ENERGY,
    signal_abs=_ENERGY,
    error_abs=_ENERGY,
    signal_squares=_ENERGY,
    error_squares=_ENERGY,
    products=_ENERGY,
    calm_signal=_ENERGY,
    calm_error=_ENERGY,
    token_db=st.dictionaries(st.integers(0, DB_BINS - 1), st.integers(1, 99), max_size=5).map(
        lambda d: tuple(sorted(d.items()))
    ),
    levels=st.sets(st.integers(0, 255), max_size=9).map(lambda s: tuple(sorted(s))),
)


@given(_SUMS, _SUMS, _SUMS)
def test_sums_add_in_any_order_and_nothing_is_their_zero(a: SchemeSums, b: SchemeSums, c: SchemeSums) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + SchemeSums() == a
    whole = asdict(a + b + c)
    for key in ("tokens", "clipped", "signal", "error", "products", "calm_error"):
        assert whole[key] == getattr(a, key) + getattr(b, key) + getattr(c, key)
    assert set(whole["levels"]) == {*a.levels, *b.levels, *c.levels}
    for place, count in whole["token_db"]:
        assert count == sum(dict(part.token_db).get(place, 0) for part in (a, b, c))


def energies(tokens: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Signal and error of tokens, unequal and correlated as those of real tokens are."""
    generator = np.random.default_rng(seed)
    signal = generator.lognormal(0.0, 1.0, tokens)
    return signal, 1e-3 * signal**0.7 * generator.lognormal(0.0, 0.6, tokens)


def sums_of(signal: np.ndarray, error: np.ndarray) -> SchemeSums:
    places = np.floor((10 * np.log10(signal / error) - DB_LOWEST) / DB_PER_BIN).astype(int)
    bins, counts = np.unique(places, return_counts=True)
    return SchemeSums(
        tokens=len(signal),
        entries=len(signal),
        signal=signal.sum(),
        error=error.sum(),
        signal_squares=(signal**2).sum(),
        error_squares=(error**2).sum(),
        products=(signal * error).sum(),
        token_db=tuple((int(place), int(count)) for place, count in zip(bins, counts, strict=True)),
    )


def test_the_standard_error_is_the_scatter_of_samples_drawn_from_the_population() -> None:
    signal, error = energies(3000)
    generator, drawn, stated = np.random.default_rng(1), [], []
    for _ in range(2500):
        chosen = generator.choice(3000, 900, replace=False)
        drawn.append(10 * np.log10(signal[chosen].sum() / error[chosen].sum()))
        stated.append(sums_of(signal[chosen], error[chosen]).sqnr_error_db(3000))
    assert np.mean(stated) == pytest.approx(np.std(drawn), rel=0.08)


def test_the_standard_error_is_the_delta_method_worked_out_token_by_token() -> None:
    signal, error = energies(400)
    n, ratio = len(signal), error.sum() / signal.sum()
    of_the_mean = np.sqrt(np.mean((error - ratio * signal) ** 2) / n * (1 - n / 5000))
    wanted = 10 / np.log(10) * of_the_mean / error.mean()
    assert sums_of(signal, error).sqnr_error_db(5000) == pytest.approx(wanted, rel=1e-9)


def test_the_standard_error_is_the_scatter_of_a_bootstrap_where_the_population_is_large() -> None:
    signal, error = energies(1500)
    generator = np.random.default_rng(2)
    drawn = []
    for _ in range(2000):
        chosen = generator.integers(0, 1500, 1500)
        drawn.append(10 * np.log10(signal[chosen].sum() / error[chosen].sum()))
    assert sums_of(signal, error).sqnr_error_db(10**9) == pytest.approx(np.std(drawn), rel=0.08)


def test_a_sample_of_everything_has_no_standard_error() -> None:
    signal, error = energies(50)
    assert sums_of(signal, error).sqnr_error_db(50) == 0.0
    assert sums_of(signal, error).sqnr_error_db(51) > 0.0


def test_two_tokens_have_a_standard_error_and_one_or_what_has_no_ratio_has_none() -> None:
    two = sums_of(np.array([4.0, 2.0]), np.array([1.0, 2.0]))
    # error - ratio * signal = (1 - 2, 2 - 1), so the spread is 2, over an error of 3
    assert two.sqnr_error_db(4) == pytest.approx(10 / math.log(10) * math.sqrt(2 * (1 - 2 / 4)) / 3)
    for changes in ({"tokens": 1}, {"error": 0.0}, {"signal": 0.0}):
        assert replace(two, **changes).sqnr_error_db(4) == 0.0
    assert [two.sqnr_error_db(population) for population in (1, 2)] == [0.0, 0.0]
    assert replace(two, error_squares=0.0).sqnr_error_db(4) == 0.0, "a spread that rounding made negative is none"


@pytest.mark.parametrize("q", [0.001, 0.01, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("tokens", [1, 2, 7, 400])
def test_a_quantile_over_tokens_is_numpys_to_the_lower_edge_of_its_bin(q: float, tokens: int) -> None:
    signal, error = energies(tokens)
    wanted = np.quantile(10 * np.log10(signal / error), q, method="inverted_cdf")
    found = sums_of(signal, error).token_quantile_db(q)
    assert found - 1e-9 <= wanted < found + DB_PER_BIN + 1e-9


def test_tokens_without_an_error_are_infinitely_good_and_no_tokens_are_nothing() -> None:
    sums = SchemeSums(tokens=4, token_db=((1200, 1), (DB_BINS - 1, 3)))
    assert sums.token_quantile_db(0.25) == pytest.approx(0.0)
    assert sums.token_quantile_db(0.5) == math.inf
    assert math.isnan(SchemeSums().token_quantile_db(0.5))


@pytest.mark.parametrize(
    ("signal", "error", "wanted"),
    [
        (100.0, 1.0, 20.0),
        (1.0, 100.0, -20.0),
        (5.0, 0.0, math.inf),
        (0.0, 0.0, math.inf),
        (0.0, 1.0, -math.inf),
        (1.0, math.inf, -math.inf),
    ],
)
def test_energies_as_decibel(signal: float, error: float, wanted: float) -> None:
    assert decibel(signal, error) == wanted
    assert SchemeSums(signal=signal, error=error).sqnr_db == wanted


@pytest.mark.parametrize(
    ("signal", "error"), [(math.nan, 1.0), (1.0, math.nan), (math.nan, 0.0), (math.inf, 1.0), (math.inf, math.inf)]
)
def test_energies_that_are_no_numbers_never_pass_for_a_good_ratio(signal: float, error: float) -> None:
    assert not decibel(signal, error) >= 0.0


def test_the_sqnr_without_massive_tokens_is_nan_where_there_are_no_others() -> None:
    assert math.isnan(SchemeSums(tokens=3, signal=1.0, error=0.1).calm_sqnr_db)
    assert SchemeSums(tokens=3, calm_tokens=2, calm_signal=10.0, calm_error=0.1).calm_sqnr_db == pytest.approx(20.0)
