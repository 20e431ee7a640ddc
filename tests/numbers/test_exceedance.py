"""What is stated of a maximum holds as often as it is stated: 2 000 corpora of known distributions."""

import numpy as np
import pytest

from pytest_maxact.numbers.exceedance import exceeding

DRAWS, SAMPLES = 2000, 60
WITHIN = 3 * np.sqrt(0.05 * 0.95 / DRAWS)


def test_the_rate_beyond_it_is_below_what_is_stated_in_95_of_100_corpora() -> None:
    """Of a uniform distribution the true rate beyond a maximum m is 1 - m."""
    largest = np.random.default_rng(0).uniform(size=(DRAWS, SAMPLES)).max(1)
    stated = exceeding(np.ones(SAMPLES)).rate
    assert np.mean(1 - largest <= stated) == pytest.approx(0.95, abs=WITHIN)
    assert stated == pytest.approx(3 / SAMPLES, rel=0.05)


def test_where_categories_differ_the_statement_holds_more_often() -> None:
    """A third of the samples are of a category that alone reaches high values."""
    generator = np.random.default_rng(1)
    low, high = generator.uniform(0, 0.5, (DRAWS, 40)), generator.uniform(0, 1.0, (DRAWS, 20))
    largest = np.concatenate([low, high], 1).max(1)
    rate = np.where(largest > 0.5, (1 - largest) / 3, 1.0)
    assert np.mean(rate <= exceeding(np.ones(SAMPLES)).rate) >= 0.95 - WITHIN


@pytest.mark.parametrize("tail", ["uniform", "exponential", "pareto"])
def test_another_corpus_reaches_what_is_stated_as_often_as_stated(tail: str) -> None:
    generator = np.random.default_rng(2)
    draw = {
        "uniform": lambda size: generator.uniform(size=size),
        "exponential": lambda size: generator.exponential(size=size),
        "pareto": lambda size: generator.pareto(1.5, size=size),
    }[tail]
    one, other = draw((DRAWS, SAMPLES)), draw((DRAWS, SAMPLES)).max(1)
    found = [exceeding(row) for row in one]
    reached = np.mean([largest >= told.again for largest, told in zip(other, found, strict=True)])
    assert 0.95 <= found[0].reached < 0.99
    assert reached == pytest.approx(found[0].reached, abs=WITHIN)
    assert np.mean(other > one.max(1)) == pytest.approx(found[0].above, abs=3 * np.sqrt(0.25 / DRAWS))


def test_on_a_plateau_the_statements_hold_more_often() -> None:
    rounded = np.floor(np.random.default_rng(3).uniform(size=(2, DRAWS, SAMPLES)) * 8)
    found = [exceeding(row) for row in rounded[0]]
    other = rounded[1].max(1)
    assert np.mean([largest >= told.again for largest, told in zip(other, found, strict=True)]) > found[0].reached
    assert np.mean(other > rounded[0].max(1)) < 0.1


def test_few_samples_tell_of_no_other_corpus() -> None:
    assert exceeding(np.array([1.0, 2.0])).again is None
    assert exceeding(np.array([1.0])).rate == pytest.approx(0.95)
