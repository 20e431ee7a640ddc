"""Which of several breaches, of whatever metrics, is told first where not all can be."""

import math

from pytest_maxact.judge.verdict.finding import Finding


def severity(finding: Finding) -> tuple[bool, float]:
    """What is no finite number first, then how many times its limit a value is, or is less than it; of decibels, as
    amplitudes. A bound of zero is missed by any factor.
    """
    value, bound = finding.value, finding.limit.bound
    if not math.isfinite(value):
        return True, 0.0
    if finding.limit.metric.is_in_decibels:
        beyond = bound - value if finding.limit.sense == "min" else value - bound
        return False, 10 ** (min(beyond, 6000.0) / 20)
    larger, smaller = (value, bound) if finding.limit.sense == "max" else (bound, value)
    return False, larger / smaller if smaller > 0 else math.inf
