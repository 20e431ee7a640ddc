"""What a waiver lets pass, and when it fails itself."""

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timezone

from pytest_maxact.judge.limits.layers import LOWER
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.verdict.bound import NEVER_ZERO, within
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.metrics.metric import MAX_ABS
from pytest_maxact.settings.userfiles import short_name


def waived(finding: Finding, waivers: Iterable[Waiver], checkpoint: str = "", today: date | None = None) -> Finding:
    """The finding with the first waiver that lets it pass today.

    What is broken is never let pass: a site with non-finite entries, a residual stream of zeros, a value that is no
    number. A block that gives nothing but zeros is let pass by a waiver that says just that, with `up_to: 0`; it is not
    a maximum that is a little too large.
    """
    if finding.passed or _is_broken(finding):
        return finding
    empty = _is_empty(finding)
    limit = replace(finding.limit, metric=MAX_ABS) if empty else finding.limit
    speaking = [waiver for waiver in waivers if waiver.covers(limit, checkpoint) and not expired(waiver, today)]
    found = next(
        (waiver for waiver in speaking if _reaches(waiver, finding) and (not empty or waiver.up_to == 0.0)), None
    )
    if found or not speaking:
        return replace(finding, waiver=found)
    beyond = (
        "which is let pass by `up_to: 0` only"
        if empty
        else f"beyond what the waiver of {speaking[0].owner} lets pass, {speaking[0].up_to:g}"
    )
    return replace(finding, message=f"{finding.message}; {beyond} ({_written(speaking[0])})")


def _is_broken(finding: Finding) -> bool:
    """Whether it tells of a checkpoint that is broken, and not of one that is too large somewhere."""
    reading = finding.reading
    if math.isnan(finding.value) or (reading is not None and reading.nonfinite):
        return True
    return reading is not None and reading.site.kind in NEVER_ZERO and _is_empty(finding)


def _is_empty(finding: Finding) -> bool:
    """Whether it is about the magnitude of a site that is zero throughout, from above or from below: one finding, which
    a waiver of `max_abs` speaks about.
    """
    reading = finding.reading
    of_magnitude = finding.limit.metric in (MAX_ABS, *LOWER)
    return of_magnitude and finding.value == 0.0 and (reading is None or reading.max_abs == 0.0)


def _reaches(waiver: Waiver, finding: Finding) -> bool:
    """Whether what was found is no worse than what a waiver that speaks about it lets pass."""
    return waiver.up_to is None or within(finding.value, waiver.up_to, finding.limit.sense)


def expired(waiver: Waiver, today: date | None = None) -> bool:
    """Whether a waiver's last day has passed, in UTC."""
    return (today or datetime.now(timezone.utc).date()) > waiver.until


def waiver_fault(waiver: Waiver, findings: Iterable[tuple[str, Finding]], today: date | None = None) -> str | None:
    """Why a waiver fails, None where it does its work; `findings` are those of the whole run, each with its
    checkpoint's name.
    """
    where = _written(waiver)
    if expired(waiver, today):
        return (
            f"the waiver for {waiver.site} by {waiver.owner} expired on {waiver.until} ({where}): mend the checkpoint,"
            " or renew it with a reason"
        )
    if not any(waiver.covers(finding.limit, checkpoint) and not finding.passed for checkpoint, finding in findings):
        return f"the waiver for {waiver.site} by {waiver.owner} is stale, none of its checks fails ({where}): remove it"
    return None


def _written(waiver: Waiver) -> str:
    """Where a waiver stands."""
    return f"{short_name(waiver.file)}:{waiver.line}"
