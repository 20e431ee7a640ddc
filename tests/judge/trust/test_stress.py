"""What is said of a stress set: ratios by site, by whom, and never a small number where something is not finite."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from pytest_maxact.errors import MeasureError
from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.trust.stress import StressFigures, stress_figures, stress_line, stress_sentences
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.verdict import verdict
from pytest_maxact.numbers.peaks import NonFinite, Peak
from pytest_maxact.record.record import Record
from pytest_maxact.record.sound.record import require_sound
from pytest_maxact.record.stress import Recipe, SiteStress, Stress, merged_stress
from tests.support import records

RECIPES = ("first token", "without BOS", "with BOS")
CORPUS = {"embedding": [[1.0, 2.0]], "layers.0.hidden": [[4.0, 8.0]], "layers.1.hidden": [[4.0, 3.0]]}


def site(*largest: float) -> SiteStress:
    finite = [value for value in largest if math.isfinite(value)]
    peak = Peak(value=-max(finite), sample="first token/7", position=0, token="x", token_id=7, channel=1)
    broken = None if len(finite) == len(largest) else NonFinite(sample="with BOS/s", position=0, token="", channel=0)
    return SiteStress(largest=dict(zip(RECIPES, largest, strict=True)), peak=peak, first_nonfinite=broken)


def stressed(sites: Mapping[str, SiteStress]) -> Record:
    stress = Stress(
        seed=0, scanned=60, vocabulary=64, recipes={name: Recipe(samples=2, tokens=9) for name in RECIPES}, sites=sites
    )
    return replace(records.record(CORPUS), stress=stress)


RAISED = stressed(
    {"embedding": site(2.0, 1.0, 1.0), "layers.0.hidden": site(16.0, 4.0, 12.0), "layers.1.hidden": site(3.0, 2.0, 3.0)}
)
BROKEN = stressed(
    {"embedding": site(2.0, 1.0, 1.0), "layers.0.hidden": site(9.0, 1.0, math.inf),
     "layers.1.hidden": site(3.0, 2.0, math.inf)}
)  # fmt: skip


UNTOLD = replace(site(2.0, 1.0, math.inf), first_nonfinite=None)


def figures(record: Record) -> StressFigures:
    found = stress_figures(record)
    assert found
    return found


def test_a_site_is_held_against_its_own_corpus() -> None:
    found = figures(RAISED)
    assert {one.site: one.ratio for one in found.sites} == {
        "embedding": 1.0, "layers.0.hidden": 2.0, "layers.1.hidden": 0.75,
    }  # fmt: skip
    assert (found.largest, found.site, found.factor) == (16.0, "layers.0.hidden", 2.0)
    assert found.recipes == {"first token": 16.0, "without BOS": 4.0, "with BOS": 12.0}
    assert stress_line(found) == (
        "M 16 in layers.0.hidden by first token, 2.00 x that of the corpus; 1 of 3 sites above their corpus, most "
        "layers.0.hidden, 2.00 x by first token"
    )
    assert RAISED.carrier.max_abs == 8.0


def test_first_tokens_and_a_bos_are_named() -> None:
    first, bos = stress_sentences(figures(RAISED))
    assert first == "first tokens: 60 of 64 tried alone, M 16, 2.00 x that of the corpus"
    assert bos == "BOS: the same samples with it M 12, without 4; most changed is layers.0.hidden, 3.00 x with it"


def test_what_is_not_finite_under_stress_fails_whatever_the_corpus_says() -> None:
    (finding,) = [one for one in verdict(BROKEN, family="generic") if one.limit.site == "stress"]
    assert not finding.passed
    assert finding.value == 2
    assert "NaN or infinite at 2 of 3 sites, the first layers.0.hidden under with BOS" in finding.message
    assert [one.passed for one in verdict(RAISED, family="generic") if one.limit.site == "stress"] == [True]
    assert figures(BROKEN).factor == math.inf


def test_a_record_without_a_stress_set_has_no_such_check_and_cannot_pass_one() -> None:
    plain = replace(RAISED, stress=None)
    limit = next(one.limit for one in verdict(RAISED, load_limits(), family="generic") if one.limit.site == "stress")
    assert not [one for one in verdict(plain, family="generic") if one.limit.site == "stress"]
    with pytest.raises(MeasureError, match="holds no stress set"):
        check(plain, limit)


def test_parts_add_up_to_the_largest_of_both() -> None:
    both = merged_stress(RAISED.stress, BROKEN.stress)
    assert both
    assert both.sites["layers.0.hidden"].largest == {"first token": 16.0, "without BOS": 4.0, "with BOS": math.inf}
    assert both.tokens == 2 * 27
    assert merged_stress(None, RAISED.stress) is RAISED.stress


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: replace(s, scanned=65), "stress.scanned"),
        (lambda s: replace(s, recipes={}), "stress.recipes"),
        (lambda s: replace(s, sites={"embedding": s.sites["embedding"]}), "stress.sites"),
        (lambda s: replace(s, sites={**s.sites, "embedding": site(9.0, 9.0, math.inf)}), None),
        (lambda s: replace(s, sites={**s.sites, "embedding": replace(site(9.0, 9.0, 1.0), peak=None)}), "peak"),
        (lambda s: replace(s, sites={**s.sites, "embedding": UNTOLD}), "nonfinite"),
    ],
)  # fmt: skip
def test_a_stress_set_that_contradicts_itself_is_refused(change: object, says: str | None) -> None:
    doctored = replace(RAISED, stress=change(RAISED.stress))  # type: ignore[operator]
    if says is None:
        require_sound(doctored)
        return
    with pytest.raises(ValueError, match=says):
        require_sound(doctored)


def test_a_corpus_that_is_not_finite_is_said_though_the_stress_set_is() -> None:
    names = list(CORPUS)
    record = records.record({**CORPUS, names[1]: [[math.nan, 8.0]]})
    stress = stressed(dict.fromkeys(CORPUS, site(2.0, 1.0, 1.0))).stress
    found = figures(replace(record, stress=stress))
    assert found.broken == ()
    assert found.corpus_broken == (names[1],)
    assert stress_line(found) == f"NaN or infinite at 1 of 3 sites on the corpus itself, the first {names[1]}"
