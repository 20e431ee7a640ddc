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
    """Whether a value keeps a limit."""
    return within(value, limit.bound, limit.sense)


def within(value: float, bound: float, sense: str) -> bool:
    """The comparison: true only of numbers."""
    return value >= bound if sense == "min" else value <= bound


def is_looser(limit: Limit, than: Limit) -> bool:
    """Whether a limit lets something pass that another one of its check does not."""
    return not holds(limit.bound, than)
