"""What a search found, held against the limits of the sites it searched."""

import math
from dataclasses import replace

import pytest

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.limit import CARRIER, Limit
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.verdict.check import check
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.stress import require_bounded, with_trials
from pytest_maxact.record.hunt import Hunted
from pytest_maxact.record.metrics.metric import MAX_ABS, NONFINITE, Metric
from tests.support.records import record

HIDDEN, GATE = "layers.1.hidden", "layers.1.gate"


def limit_of(site: str, bound: float, metric: Metric = MAX_ABS) -> Limit:
    return Limit(site=site, metric=metric, bound=bound, sense="max", rule="r", source="", file="f.yaml", line=3)


def judged(found: dict[str, float], bounds: dict[str, float]) -> Finding:
    finds = tuple(
        Hunted(
            site=site, corpus=1.0, found=value, how="pair", text=f"of {site}", inputs=((1, 2),), evaluations=9,
            scanned=2, vocabulary=64,
        )
        for site, value in found.items()
    )  # fmt: skip
    kept = replace(record({name: [[1.0]] for name in ("layers.0.hidden", HIDDEN, GATE)}), hunt=finds)
    own = [
        replace(limit_of(site, bound), rule=f"of {site}", source=f"for {site}", line=10 + place)
        for place, (site, bound) in enumerate(bounds.items())
    ]
    limits = [limit_of("layers.0.hidden", 0.0, NONFINITE), *own]
    rules = with_trials(Ruleset(family="f", shape=None, protocol=None, limits=tuple(limits)), False, True)
    (own,) = [one for one in rules.limits if one.check == "hunt::max_abs"]
    return check(kept, own)


@pytest.mark.parametrize(
    ("found", "bounds", "passed", "value", "site"),
    [
        ({HIDDEN: 9.0}, {HIDDEN: 10.0}, True, 9.0, HIDDEN),
        ({HIDDEN: 10.0}, {HIDDEN: 10.0}, True, 10.0, HIDDEN),
        ({HIDDEN: 10.5}, {HIDDEN: 10.0, GATE: 99.0}, False, 10.5, HIDDEN),
        ({HIDDEN: 10.5}, {GATE: 99.0, HIDDEN: 10.0}, False, 10.5, HIDDEN),
        ({HIDDEN: 90.0, GATE: 9.0}, {HIDDEN: 100.0, GATE: 5.0}, False, 9.0, GATE),
        ({HIDDEN: 90.0, GATE: 4.0}, {GATE: 5.0, HIDDEN: 100.0}, True, 90.0, HIDDEN),
        ({HIDDEN: 9.0}, {HIDDEN: 100.0, CARRIER: 5.0}, False, 9.0, CARRIER),
        ({HIDDEN: 9.0}, {CARRIER: 100.0, HIDDEN: 10.0}, True, 9.0, HIDDEN),
        ({HIDDEN: math.inf}, {HIDDEN: 100.0}, False, math.inf, HIDDEN),
        ({HIDDEN: 0.0, GATE: 9.0}, {HIDDEN: 0.0, GATE: 10.0}, True, 9.0, GATE),
        ({HIDDEN: 0.0, GATE: 11.0}, {HIDDEN: 0.0, GATE: 10.0}, False, 11.0, GATE),
    ],
)
def test_the_find_that_uses_most_of_the_limit_of_its_site_is_told_with_that_limit(
    found: dict[str, float], bounds: dict[str, float], passed: bool, value: float, site: str
) -> None:
    finding = judged(found, bounds)
    assert (finding.passed, finding.value, finding.limit.bound) == (passed, value, bounds[site])
    assert (finding.limit.site, finding.limit.check) == ("hunt", "hunt::max_abs")
    assert (finding.limit.file, finding.limit.line) == ("f.yaml", 10 + list(bounds).index(site))
    assert (finding.limit.rule, finding.limit.source) == (f"of {site}", f"for {site}")


def test_a_gate_that_is_to_search_where_nothing_bounds_what_is_found_is_refused() -> None:
    hidden, gate = (record({name: [[1.0]]})[name].site for name in (HIDDEN, GATE))
    plain = limit_of(HIDDEN, 0.0, NONFINITE)

    def rules(*bounds: Limit) -> Ruleset:
        return Ruleset(family="f", shape=None, protocol=None, limits=(plain, *bounds))

    for bound, searched in ((HIDDEN, [hidden]), (CARRIER, [hidden]), (GATE, [hidden, gate])):
        require_bounded(rules(limit_of(bound, 9.0)), searched)
        assert "hunt::max_abs" in [
            one.check for one in with_trials(rules(limit_of(bound, 9.0)), False, True, searched).limits
        ]
    require_bounded(rules(), [hidden])
    for bound, searched in ((GATE, [hidden]), (CARRIER, [gate])):
        with pytest.raises(InputError, match=f"no limit on max_abs bounds {searched[0].name}"):
            require_bounded(rules(limit_of(bound, 9.0)), searched)
        checks = [one.check for one in with_trials(rules(limit_of(bound, 9.0)), False, True, searched).limits]
        assert "hunt::nonfinite" in checks
        assert "hunt::max_abs" not in checks


def test_what_no_limit_bounds_passes_nothing() -> None:
    with pytest.raises(MeasureError, match=f"no limit on max_abs of what was searched, {HIDDEN}, so nothing was che"):
        judged({HIDDEN: 9.0}, {GATE: 5.0})


def test_a_breach_says_which_text_reaches_it() -> None:
    message = judged({HIDDEN: 10.5}, {HIDDEN: 10.0}).message
    assert message == f"hunt: {HIDDEN} reaches 10.5 by pair, which exceeds the limit of 10 there, as 'of {HIDDEN}' does"


def test_without_a_limit_on_a_maximum_there_is_no_such_check_and_other_metrics_are_refused() -> None:
    only = Ruleset(family="f", shape=None, protocol=None, limits=(limit_of(HIDDEN, 0.0, NONFINITE),))
    assert [one.check for one in with_trials(only, True, True).limits[1:]] == ["stress::nonfinite", "hunt::nonfinite"]
    with pytest.raises(InputError, match="there are nonfinite and max_abs"):
        check(record({HIDDEN: [[1.0]]}), limit_of("hunt", 1.0, Metric.parse("rms")))
