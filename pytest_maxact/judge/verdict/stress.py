"""What was tried beside a Record's corpus, a stress set or a search, against the limit on it: a Record and a limit in,
a finding in words out.

Guard: a gate that asked for either and has none of it is an error, and one NaN or infinity there fails; so does an
input that a search found and that reaches more than the limit of its site allows.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pytest_maxact.errors import InputError, MeasureError, setting
from pytest_maxact.judge.limits.limit import CARRIER, HUNT, STRESS, Limit
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.trust.hunt import hunt_line
from pytest_maxact.judge.trust.stress import stress_figures, stress_line
from pytest_maxact.judge.verdict.bound import holds
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.hunt import Hunted
from pytest_maxact.record.metrics.metric import MAX_ABS, NONFINITE
from pytest_maxact.record.record import HUNTED, STRESSED, Record


def with_trials(rules: Ruleset, stressed: bool, hunted: bool, searched: Iterable[Site] = ()) -> Ruleset:
    """The same with the checks of a stress set and of a search, where there is one or will be. `searched`: its sites,
    if known; what it reaches is checked where one of them has a limit.
    """
    like = next(limit for limit in rules.limits if limit.metric == NONFINITE)
    found = tuple(
        replace(like, site=site, source="an input that a served model may be given is not to break it", bound=0.0)
        for site, asked in ((STRESS, stressed), (HUNT, hunted))
        if asked
    )
    return replace(rules, limits=(*rules.limits, *found, *(_of_finds(rules, tuple(searched)) if hunted else ())))


def searched_in(record: Record | None) -> list[Site]:
    """The sites that a Record was searched at."""
    return [record[one.site].site for one in record.hunt or ()] if record else []


def require_bounded(rules: Ruleset, searched: Sequence[Site]) -> None:
    """Raise InputError for a gate that is to search where none of its limits on max_abs bounds what is found."""
    names = [site.name for site in searched]
    if names and _of_maxima(rules) and not _bounded(rules, searched):
        raise InputError(
            f"{setting('hunt')}: no limit on max_abs bounds {', '.join(names)}, so no find there could fail\n"
            "  name a site that has one, give this one a limit, or search by `maxact hunt`, which judges nothing"
        )


def _of_maxima(rules: Ruleset) -> list[Limit]:
    return [one for one in rules.limits if one.metric == MAX_ABS and one.sense == "max" and not one.against]


def _bounded(rules: Ruleset, searched: Sequence[Site]) -> bool:
    """Whether a limit bounds what is found at one of the sites."""
    return any(_limits_of(site, _of_maxima(rules)) for site in searched)


def _of_finds(rules: Ruleset, searched: Sequence[Site]) -> Iterator[Limit]:
    """The check on what a search reaches: at every site the limit that its corpus is held to."""
    known = _of_maxima(rules)
    if known and (not searched or _bounded(rules, searched)):
        widest = max(known, key=lambda one: one.bound)
        yield replace(
            widest, site=HUNT, rule="limits on max_abs of what is searched", figure=None, headroom=None, envelope=False,
            of_layer=False, of_sites=tuple(known),
        )  # fmt: skip


def check_stress(record: Record, limit: Limit) -> Finding:
    """The one limit on a stress set: sites that are not finite under it. Raises MeasureError where the Record holds
    none, InputError for another metric.
    """
    if limit.metric != NONFINITE:
        raise InputError(f"no metric of {STRESS} called {limit.metric.name!r}\n  there is {NONFINITE}")
    if STRESSED in record.untried:
        return _untried(record, limit, STRESSED)
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
    """A limit on a search: on sites at which it found an input that is not finite, or on what it reached anywhere.
    Raises MeasureError where the Record holds none, InputError for another metric.
    """
    if limit.metric not in (NONFINITE, MAX_ABS):
        raise InputError(f"no metric of {HUNT} called {limit.metric.name!r}\n  there are {NONFINITE} and {MAX_ABS}")
    if HUNTED in record.untried:
        return _untried(record, limit, HUNTED)
    if not record.hunt:
        raise MeasureError(
            f"the Record holds no search, of which {limit.check} is\n  measure again with {setting('hunt')} SITE"
        )
    if limit.metric == MAX_ABS:
        return _check_finds(record, limit)
    value = float(sum(not math.isfinite(one.found) for one in record.hunt))
    return Finding(
        limit=limit, value=value, passed=holds(value, limit), reading=None,
        message=f"{HUNT}: {hunt_line(record.hunt)}",
    )  # fmt: skip


def _untried(record: Record, limit: Limit, what: str) -> Finding:
    """What was asked for and could not be tried passes nothing."""
    message = f"{limit.site}: could not be tried: {record.untried[what]}"
    return Finding(limit=limit, value=math.nan, passed=False, reading=None, message=message)


def _check_finds(record: Record, limit: Limit) -> Finding:
    """Of all finds the one that uses most of the limit of its site, with that limit; of a test's own bound, the
    largest.
    """
    finds = record.hunt or ()
    held = [(one, own) for one in finds for own in _limits_of(record[one.site].site, limit.of_sites)]
    if not limit.of_sites:
        held = [(one, limit) for one in finds]
    if not held:
        searched = ", ".join(one.site for one in finds)
        raise MeasureError(
            f"{HUNT}: there is no limit on max_abs of what was searched, {searched}, so nothing was checked\n"
            "  search at a site that has one, give this one a limit, or search by `maxact hunt`, which judges nothing"
        )
    worst, own = max(held, key=lambda one: _used(*one))
    met = replace(limit, bound=own.bound, rule=own.rule, source=own.source, file=own.file, line=own.line)
    passed = holds(worst.found, met)
    relation = "is within" if passed else "exceeds"
    text = f", as {worst.text!r} does" if worst.text and not passed else ""
    return Finding(
        limit=met, value=worst.found, passed=passed, reading=None,
        message=f"{HUNT}: {worst.site} reaches {worst.found:.6g} by {worst.how}, which {relation} the limit of "
        f"{met.bound:.6g} there{text}",
    )  # fmt: skip


def _used(found: Hunted, limit: Limit) -> tuple[bool, float]:
    """How near a find comes to a limit: those that exceed theirs before all others, then by the share that is used."""
    share = found.found / limit.bound if limit.bound > 0 else math.inf if found.found > limit.bound else 0.0
    return not holds(found.found, limit), share


def _limits_of(site: Site, limits: Iterable[Limit]) -> list[Limit]:
    """Those that hold for a site: its own, and that of the site that holds M, where it counts toward M."""
    names = (site.name, CARRIER) if site.counted else (site.name,)
    return [one for one in limits if one.site in names]
