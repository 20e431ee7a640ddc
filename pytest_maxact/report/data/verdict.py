"""A verdict for a program."""

from typing import Any

from pytest_maxact.judge.outcome import Outcome
from pytest_maxact.judge.trust.interval import Interval
from pytest_maxact.judge.verdict.tally import Tally
from pytest_maxact.report.data.null import finite_or_null


def verdict_data(outcome: Outcome) -> dict[str, Any]:
    """`{"passed", "checks": [{"check", "site", "metric", "value", "limit", "passed", ...}], "waiver_faults"}`: what a
    verdict says of one checkpoint, for a program.
    """
    return {
        "schema": 1,
        "passed": bool(outcome.verdict and outcome.verdict.passed),
        "counts": _counts(outcome.verdict) if outcome.verdict else None,
        "rests": outcome.verdict.rests.strip() if outcome.verdict else "",
        "warnings": list(outcome.verdict.warnings) if outcome.verdict else [],
        "checks": [
            {
                "check": finding.limit.check,
                "site": finding.site,
                "metric": finding.limit.metric.name,
                "baseline": finding.limit.against or None,
                "value": finite_or_null(finding.value),
                "limit": finding.limit.bound,
                "sense": finding.limit.sense,
                "passed": finding.passed,
                "waived": finding.waiver.words if finding.waiver else None,
                **({"inside_noise": True} if finding.is_noise else {}),
                "too_close": finding.close,
                "interval": _interval(finding.interval) if finding.interval else None,
                **({"no_interval": finding.untold} if finding.untold else {}),
                "rule": finding.limit.rule,
                "source": finding.limit.source,
                "file": finding.limit.file,
                "line": finding.limit.line,
                "message": finding.message,
            }
            for checkpoint in outcome.checkpoints
            for finding in checkpoint.findings
        ],
        "waiver_faults": list(outcome.waiver_faults),
    }


def _interval(interval: Interval) -> dict[str, Any]:
    return {
        "kind": interval.kind.value,
        "low": finite_or_null(interval.low),
        "high": finite_or_null(interval.high),
        "samples": interval.samples,
        "meaning": interval.meaning,
    }


def _counts(tally: Tally) -> dict[str, int]:
    """As the headline of the report has them; with waivers, which are checks too, those of a runner of tests."""
    return {
        "checks": tally.ran,
        "failed": len(tally.breaches),
        "waived": len(tally.waived),
        "too_close": len(tally.close),
        "failed_too_close": tally.close_breaches,
        "not_run": tally.left,
        "waivers": tally.waivers,
        "waivers_failed": tally.failing_waivers,
    }
