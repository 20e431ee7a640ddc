"""How far a figure of samples would lie elsewhere on other text of the same kind, as plain data: what a finding carries
beside its value, and what tells that a limit is too close to call.
"""

from dataclasses import dataclass

MEAN = "95 of 100 other sets of samples give a figure in it"
"""What the interval of an average means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """From `low` to `high`, either of which may be infinite, told by so many `samples`; `meaning`: what lies between
    them, in words that say what it stands on.
    """

    low: float
    high: float
    samples: int
    meaning: str

    def overlaps(self, bound: float, sense: str) -> bool:
        """Whether it has figures on both sides of a bound of that sense; what keeps it by being equal is on its own
        side.
        """
        return self.low < bound <= self.high if sense == "min" else self.low <= bound < self.high
