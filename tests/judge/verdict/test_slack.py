"""A limit that is much wider than what was found gives a notice with the command that tightens it; a bound that a
person stated does not.
"""

import math

import pytest

from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import select_rules
from pytest_maxact.judge.verdict.check import check, judge
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.slack import notices
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.metrics.metric import MAX_ABS, Metric
from tests.support.records import record, seen

SITE = "layers.0.hidden"


def finding(
    value: float,
    bound: float,
    metric: str = "max_abs",
    sense: str = "max",
    *,
    figure: float | None = 1.0,
    passed: bool = True,
) -> Finding:
    limit = Limit(
        site=SITE,
        metric=Metric.parse(metric),
        bound=bound,
        sense=sense,
        rule="r",
        source="s",
        file="f",
        line=1,
        figure=figure,
        headroom=1.25,
    )
    return Finding(limit=limit, value=value, passed=passed, reading=None, message="")


@pytest.mark.parametrize(
    ("found", "wide"),
    [
        (finding(10.0, 40.0), True),
        (finding(10.0, math.nextafter(40.0, 0)), False),
        (finding(0.0, 40.0), False),
        (finding(math.inf, 40.0, passed=False), False),
        (finding(math.nan, 40.0, passed=False), False),
        (finding(32.0, 20.0, "int8.max_abs.sqnr_db", "min"), True),
        (finding(31.9, 20.0, "int8.max_abs.sqnr_db", "min"), False),
        (finding(math.inf, 20.0, "int8.max_abs.sqnr_db", "min"), False),
        (finding(0.0, 0.0, "nonfinite", figure=None), False),
        (finding(0.01, 0.5, "unreached_experts", figure=None), False),
        (finding(130.0, 65504.0, figure=None), False),
        (finding(33.0, 20.0, "W8A8.sqnr_db", "min", figure=None), False),
        (finding(0.25, 1.0), True),
        (finding(90.0, 10.0, "max_abs.min", "min"), False),
    ],
)
def test_a_limit_is_wide_from_four_times_or_12_db(found: Finding, wide: bool) -> None:
    slack = notices([found])
    assert (slack is not None) is wide


def test_the_widest_of_maxima_and_decibels_is_named() -> None:
    tight, wide, db = finding(10.0, 12.0), finding(10.0, 80.0), finding(60.0, 20.0, "int8.max_abs.sqnr_db", "min")
    slack = notices([tight, wide, db])
    assert slack is not None
    assert (slack.wide, slack.judged, slack.widest) == (2, 3, db)
    assert (
        slack.line("CMD")
        == "2 of 3 limits lie more than 4 times above what was found (the widest: layers.0.hidden, 20 for 60 dB); to"
        " tighten them: CMD"
    )
    fewer = notices([tight, wide])
    assert fewer is not None
    assert fewer.line("CMD").endswith("(the widest: layers.0.hidden, 80 for 10); to tighten them: CMD")


@pytest.mark.parametrize(("decibels", "bound", "is_db"), [(44.0, 60.0, True), (44.0, 70.0, False), (32.0, 41.0, False)])
def test_twelve_db_are_a_factor_of_four_and_twice_that_is_sixteen(decibels: float, bound: float, is_db: bool) -> None:
    """Whatever their order, and between any two of them."""
    db, times = finding(decibels, 20.0, "int8.max_abs.sqnr_db", "min"), finding(4.0, bound)
    for findings in ([db, times], [times, db]):
        slack = notices(findings)
        assert slack is not None
        assert slack.widest is (db if is_db else times)


def test_a_run_without_findings_or_wide_limits_has_no_notice() -> None:
    assert notices([]) is None
    assert notices([finding(10.0, 12.0)]) is None


def test_the_shipped_envelope_is_wide_for_a_small_model() -> None:
    small = seen(8.0)
    rules = select_rules(
        load_limits(), identity_of(small.provenance), [reading.site for reading in small.sites.values()]
    )
    slack = notices(judge(small, rules.limits))
    assert slack is not None
    assert slack.widest.limit.metric.name in ("max_abs", "int8.max_abs.sqnr_db")
    assert slack.judged == len(rules.limits)


def test_a_check_of_ones_own_has_no_figure_and_no_notice() -> None:
    limit = Limit(site=SITE, metric=MAX_ABS, bound=500.0, sense="max", rule="", source="", file="", line=0)
    assert notices([check(record({SITE: [[1.0]]}), limit)]) is None
