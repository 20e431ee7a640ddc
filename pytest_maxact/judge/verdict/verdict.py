"""A Record and limits files in, findings out: the verdict in one call, for those who have a Record and no run.

Guards what a run guards: a family without limits, limits of another protocol, a limit that matches no site, and a
baseline that not all can be compared with are errors, never a verdict on less.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.behaviour import with_behaviour
from pytest_maxact.judge.limits.file import LimitsFile, load_limits
from pytest_maxact.judge.limits.rules import require_protocol, select_rules, with_baseline
from pytest_maxact.judge.limits.source import with_source
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.judge.verdict.stress import searched_in, with_trials
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.record import Record, first_broken


def verdict(
    record: Record,
    limits: Sequence[LimitsFile] | None = None,
    *,
    family: str | None = None,
    baselines: Mapping[str, Record] | None = None,
    close: Literal["warn", "fail"] = "warn",
) -> list[Finding]:
    """A finding for every limit that speaks about the Record's family and shape, in depth order.

    `limits`: from `load_limits(path)`, the shipped ones by default. `family`: judge by another family's limits, or by
    `generic`. `baselines`: Records to compare with, by the name that findings then call them. `close`: whether what
    keeps its limit and is too close to call passes, or fails. A Record passes where every finding is `accepted`: it
    passed, or a waiver answers for it.

    Raises InputError for limits that cannot judge this Record, MeasureError where it lacks what they are about.
    """
    files = list(load_limits() if limits is None else limits)
    sites = [reading.site for reading in record.sites.values()]
    rules = select_rules(
        files, identity_of(record.provenance, record.is_linted, record.static is not None), sites, family
    )
    rules = with_behaviour(rules, files, sites, predicted=record.is_predicted, probed=record.is_probed)
    rules = with_source(rules, files, record.source.compared if record.source else None, asked=False)
    rules = with_trials(rules, record.is_stressed, record.is_hunted, searched_in(record))
    require_protocol(record.provenance.protocol, rules)
    for name, baseline in (baselines or {}).items():
        require_sound(name, baseline)
        _require_whole(name, baseline, record)
        rules = with_baseline(
            rules,
            files,
            sites,
            record.provenance.schemes,
            name,
            probed=record.is_probed and baseline.is_probed,
            slim=record.is_summary or baseline.is_summary,
        )
    return judge(record, rules.limits, baselines, rules.waivers, close=close)


def require_sound(name: str, baseline: Record) -> None:
    """Raise MeasureError for a baseline that is broken itself."""
    if broken := first_broken(baseline.sites.values()):
        raise MeasureError(
            f"{name} is broken itself, {broken.site.name} has entries that are NaN or infinite, so nothing can be "
            "compared with it"
        )


def _require_whole(name: str, baseline: Record, record: Record) -> None:
    """Raise InputError for a baseline with which a site or a scheme could not be compared."""
    gone = (reading.site for name, reading in baseline.sites.items() if name not in record.sites)
    apart = [site for site in record.sites if site not in baseline.sites]
    apart += [site.name for site in gone if not site.is_beside]
    apart += [scheme for scheme in record.provenance.schemes if scheme not in baseline.provenance.schemes]
    if apart:
        raise InputError(
            f"{name} and the Record do not both have {apart[0]}, so not all of it could be compared\n"
            "  give a baseline of the same architecture, measured with the same sites and schemes"
        )
