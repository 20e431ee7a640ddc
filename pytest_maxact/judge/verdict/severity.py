"""Which of several breaches, of whatever metrics, is told first: findings in, an order of them out. Every report takes
it from here, so that all lead with the same one.
"""

import math
from collections.abc import Sequence

from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.record.metrics.metric import NONFINITE


def severity(finding: Finding) -> tuple[bool, bool, float]:
    """What is too close to call comes last. Of the others entries that are not finite come first, where several have
    them in the order of the model, then what cannot be told for them, then how many times its limit a value is, or is
    less than it; of decibels, as amplitudes. A bound of zero is missed by any factor.
    """
    return (not finding.close, *_beyond(finding))


def worst_of(findings: Sequence[Finding]) -> Finding:
    """The first of the worst."""
    return max(findings, key=severity)


def _beyond(finding: Finding) -> tuple[bool, float]:
    """Whether something is not finite, then by what factor a limit is missed."""
    value, bound = finding.value, finding.limit.bound
    if finding.limit.metric == NONFINITE:
        return True, math.inf
    if not math.isfinite(value):
        return True, 0.0
    if finding.limit.metric.is_in_decibels:
        beyond = bound - value if finding.limit.sense == "min" else value - bound
        return False, 10 ** (min(beyond, 6000.0) / 20)
    larger, smaller = (value, bound) if finding.limit.sense == "max" else (bound, value)
    return False, larger / smaller if smaller > 0 else math.inf
