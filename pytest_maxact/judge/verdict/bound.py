"""The comparison of a value with a bound, the only one in the program, and the kinds of sites for which zero is no
small value.
"""

from pytest_maxact.judge.limits.limit import Limit

NEVER_ZERO = frozenset({"embedding", "hidden", "final_norm"})
"""Kinds that no sound checkpoint leaves at zero throughout."""
RARELY_ZERO = frozenset({"attn_output", "mlp_output"})
"""Kinds that are zero throughout where a block is switched off, which is seldom meant: a waiver `up_to: 0` says that it
is.
"""


def holds(value: float, limit: Limit) -> bool:
    """The comparison: true only of numbers."""
    if limit.sense == "min":
        return value >= limit.bound
    return value <= limit.bound
