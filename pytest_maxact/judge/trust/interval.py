"""How far a figure of samples would lie elsewhere on other text of the same kind, as plain data: what a finding carries
beside its value, and what tells that a limit is too close to call.
"""

import math
from dataclasses import dataclass
from enum import Enum

MEAN = "95 of 100 other sets of samples give a figure in it"
"""What the interval of an average means."""


class IntervalKind(Enum):
    """What lies between the ends of an interval. AVERAGE: what 95 of 100 other sets of samples give, and of no other
    kind is that said. MAXIMUM: from what other text of this size reaches nearly always to what the same text may give
    again; nobody knows how far unseen text goes. MINIMUM: the same of what falls where a maximum rises. REPEATED: what
    the same text may give again.
    """

    AVERAGE = "average"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """From `low` to `high`, either of which may be infinite, told by so many `samples`; `meaning`: what lies between
    them, in words that say what it stands on. `moved`: of an average, where it may lie for other causes than other
    samples, as the same text measured again; None of what has no such ends beside its own.
    """

    kind: IntervalKind
    low: float
    high: float
    samples: int
    meaning: str
    moved: tuple[float, float] | None = None

    @property
    def words(self) -> str:
        """In few, which promise no more than it is."""
        low, high = f"{self.low:.6g}", f"{self.high:.6g}"
        match self.kind:
            case IntervalKind.AVERAGE:
                return f"{low} to {high} (95 %)"
            case IntervalKind.MAXIMUM:
                again = f"; measured again up to {high}" if math.isfinite(self.high) else ""
                return f"{low} or more on other text{again}"
            case IntervalKind.MINIMUM:
                most = f"{high} or less" if math.isfinite(self.high) else "no upper end"
                return f"{most} on other text; measured again down to {low}"
        return f"{low} to {high} on this text"

    def overlaps(self, bound: float, sense: str) -> bool:
        """Whether it has figures on both sides of a bound of that sense, or what it is moved to has; what keeps it by
        being equal is on its own side.
        """
        ends = ((self.low, self.high), *((self.moved,) if self.moved else ()))
        return any(low < bound <= high if sense == "min" else low <= bound < high for low, high in ends)
