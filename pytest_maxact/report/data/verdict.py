"""A verdict for a program."""

from collections.abc import Sequence
from typing import Any

from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.report.data.record import finite_or_null


def verdict_data(findings: Sequence[Finding], faults: Sequence[str] = ()) -> dict[str, Any]:
    """`{"passed", "checks": [{"check", "site", "metric", "value", "limit", "passed", ...}], "waiver_faults"}`: what a
    verdict says, for a program.
    """
    return {
        "schema": 1,
        "passed": all(finding.accepted for finding in findings) and not faults,
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
                "rule": finding.limit.rule,
                "source": finding.limit.source,
                "file": finding.limit.file,
                "line": finding.limit.line,
                "message": finding.message,
            }
            for finding in findings
        ],
        "waiver_faults": list(faults),
    }
