"""How many times one magnitude is another: two numbers in, their ratio out, whatever they are.

Guard: nothing that cannot be compared looks like a small change.
"""

import math


def ratio(before: float, after: float) -> float:
    """`after` over `before`, two magnitudes: 1.0 where they are equal, 0 and 0 too; inf from 0 to anything above; NaN
    unless both are finite.
    """
    if not (math.isfinite(before) and math.isfinite(after)):
        return math.nan
    if before == after:
        return 1.0
    return after / before if before else math.inf
