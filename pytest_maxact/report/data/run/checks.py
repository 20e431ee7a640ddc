"""Checks as programs are told of them, in every file that has them: what became of one in, its form out."""

import math

from pytest_maxact.judge.account import CheckTold, WaiverTold
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.trust.interval import Interval
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.numbers.sites import layer_in
from pytest_maxact.report.data.run.form import Between, Check, Number, Place, Waived, WaiverCheck


def number(value: float) -> Number:
    """A finite number, or a word for what is none."""
    if math.isnan(value):
        return "nan"
    return float(value) if math.isfinite(value) else "inf" if value > 0 else "-inf"


def check_form(checkpoint: str, told: CheckTold) -> Check:
    """One check, with the name of its checkpoint."""
    finding, limit = told.finding, told.limit
    reading = finding.reading if finding else None
    return Check(
        check=told.id,
        outcome=told.became,
        checkpoint=checkpoint,
        site=finding.site if finding else limit.site,
        limited=limit.site,
        layer=layer_in(finding.site if finding else limit.site),
        metric=limit.metric.name,
        baseline=limit.against or None,
        value=number(finding.value) if finding else None,
        limit=number(limit.bound),
        sense="min" if limit.sense == "min" else "max",
        headroom=number(1 - finding.usage) if finding and not math.isnan(finding.usage) else None,
        passed=finding.passed if finding else None,
        too_close=bool(finding and finding.close),
        interval=_interval(finding.interval) if finding and finding.interval else None,
        no_interval=finding.untold if finding else "",
        inside_noise=finding.is_noise if finding else False,
        waived=_waived(finding.waiver) if finding and finding.waiver else None,
        rule=limit.rule,
        source=limit.source,
        file=limit.file,
        line=limit.line,
        message=finding.message if finding else told.why,
        peak=place_form(next(iter(reading.peaks), None)) if reading else None,
    )


def _interval(interval: Interval) -> Between:
    return Between(
        kind=interval.kind.value,
        low=number(interval.low),
        high=number(interval.high),
        samples=interval.samples,
        meaning=interval.meaning,
        moved=(number(interval.moved[0]), number(interval.moved[1])) if interval.moved else None,
    )


def waiver_form(told: WaiverTold) -> WaiverCheck:
    """One waiver's own check."""
    waiver = told.waiver
    return WaiverCheck(
        check=told.id,
        outcome=told.became,
        site=waiver.site,
        metric=waiver.metric,
        checkpoint=waiver.checkpoint,
        fault=told.fault,
        waiver=_waived(waiver),
    )


def _waived(waiver: Waiver) -> Waived:
    return Waived(
        owner=waiver.owner,
        reason=waiver.reason,
        until=waiver.until.isoformat(),
        up_to=number(waiver.up_to) if waiver.up_to is not None else None,
        file=waiver.file,
        line=waiver.line,
    )


def place_form(peak: Peak | None) -> Place | None:
    """Where an entry sat."""
    if peak is None:
        return None
    return Place(
        value=number(peak.value),
        sample=peak.sample,
        position=peak.position,
        token=peak.token,
        token_id=peak.token_id,
        channel=peak.channel,
        part=peak.part,
        before=peak.around.before if peak.around else None,
        after=peak.around.after if peak.around else None,
    )
