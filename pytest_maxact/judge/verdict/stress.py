"""What was tried beside a Record's corpus, a stress set or a search, against the limit on it: a Record and a limit in,
a finding in words out.

Guard: a gate that asked for either and has none of it is an error, and one NaN or infinity there fails.
"""

import math
from dataclasses import replace

from pytest_maxact.errors import InputError, MeasureError, setting
from pytest_maxact.judge.limits.limit import HUNT, STRESS, Limit
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.trust.hunt import hunt_line
from pytest_maxact.judge.trust.stress import stress_figures, stress_line
from pytest_maxact.judge.verdict.bound import holds
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.metrics.metric import NONFINITE
from pytest_maxact.record.record import Record


def with_trials(rules: Ruleset, stressed: bool, hunted: bool) -> Ruleset:
    """The same with the checks of a stress set and of a search, where there is one or will be."""
    like = next(limit for limit in rules.limits if limit.metric == NONFINITE)
    found = tuple(
        replace(like, site=site, source="an input that a served model may be given is not to break it", bound=0.0)
        for site, asked in ((STRESS, stressed), (HUNT, hunted))
        if asked
    )
    return replace(rules, limits=(*rules.limits, *found))


def check_stress(record: Record, limit: Limit) -> Finding:
    """The one limit on a stress set: sites that are not finite under it. Raises MeasureError where the Record holds
    none, InputError for another metric.
    """
    if limit.metric != NONFINITE:
        raise InputError(f"no metric of {STRESS} called {limit.metric.name!r}\n  there is {NONFINITE}")
    figures = stress_figures(record)
    if figures is None or not figures.stress.tokens:
        raise MeasureError(
            f"the Record holds no stress set, of which {limit.check} is\n  measure again with {setting('stress')}"
        )
    value = float(len(figures.broken))
    passed = holds(value, limit) and math.isfinite(figures.largest)
    tried = f"{figures.stress.tokens} tokens of {len(figures.recipes)} recipes"
    return Finding(
        limit=limit, value=value, passed=passed, reading=None, message=f"{STRESS}: {stress_line(figures)}; {tried}"
    )  # fmt: skip


def check_hunt(record: Record, limit: Limit) -> Finding:
    """The one limit on a search: sites at which it found an input that is not finite. Raises MeasureError where the
    Record holds none, InputError for another metric.
    """
    if limit.metric != NONFINITE:
        raise InputError(f"no metric of {HUNT} called {limit.metric.name!r}\n  there is {NONFINITE}")
    if not record.hunt:
        raise MeasureError(
            f"the Record holds no search, of which {limit.check} is\n  measure again with {setting('hunt')} SITE"
        )
    value = float(sum(not math.isfinite(one.found) for one in record.hunt))
    return Finding(
        limit=limit, value=value, passed=holds(value, limit), reading=None,
        message=f"{HUNT}: {hunt_line(record.hunt)}",
    )  # fmt: skip
