"""What a check tells of itself as properties of its test: a limit, and the finding where there is one, in; names and
values out, which JUnit's file and plugins that write JSON, HTML or their own forms show as they are.

A number is a number; what is no finite one is a word, for JSON has none.
"""

from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.sites import layer_in
from pytest_maxact.report.data.run.checks import number

PREFIX = "maxact."

Properties = list[tuple[str, object]]


def with_properties(known: Properties, limit: Limit, finding: Finding | None = None) -> Properties:
    """The properties of an item with those of its limit and of what was found of it, once however often it ran."""
    own = properties_of(limit, finding)
    names = {name for name, _ in own}
    return [*(entry for entry in known if entry[0] not in names), *own]


def properties_of(limit: Limit, finding: Finding | None = None) -> Properties:
    """Of a check; before it was judged, or where it could not be, what its limit says."""
    site = finding.site if finding else limit.site
    return [(f"{PREFIX}{name}", value) for name, value in _of(site, limit, finding).items() if value is not None]


def _of(site: str, limit: Limit, finding: Finding | None) -> dict[str, object]:
    interval = finding.interval if finding else None
    usage = number(finding.usage) if finding else "nan"
    return {
        "site": site,
        "layer": layer_in(site),
        "metric": limit.metric.name,
        "value": number(finding.value) if finding else None,
        "limit": number(limit.bound),
        "headroom": None if isinstance(usage, str) else 1 - usage,
        "sense": limit.sense,
        "low": number(interval.low) if interval else None,
        "high": number(interval.high) if interval else None,
        "too_close": True if finding and finding.close else None,
        "baseline": limit.against or None,
        "waived": finding.waiver.words if finding and finding.waiver else None,
        "rule": limit.rule or None,
        "source": limit.source or None,
        "file": limit.file,
        "line": limit.line,
    }
