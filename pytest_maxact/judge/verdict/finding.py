"""One check's outcome, as plain data: everything that shows a verdict shows these."""

import math
from dataclasses import dataclass

from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.waivers import Waiver
from pytest_maxact.judge.trust.interval import Interval
from pytest_maxact.judge.verdict.bound import holds
from pytest_maxact.record.reading import SiteReading


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check's outcome: the value found, the limit it met, and the site where the value sat; None for a figure of
    the whole model.

    `waiver`: lets a check that failed pass for now.
    """

    limit: Limit
    value: float
    passed: bool
    reading: SiteReading | None
    message: str
    waiver: Waiver | None = None
    is_noise: bool = False
    """Whether it passes because what changed is no more than the measurement itself gives."""
    interval: Interval | None = None
    """Where the figure would lie on other text of the same kind; None for what does not come from samples, and where
    nothing tells."""
    untold: str = ""
    """Why there is no interval of a figure that comes from samples; empty where there is one, and where none is
    needed."""
    close: bool = False
    """Whether the interval reaches over the limit: passed or not, it is too close to call."""
    doubt: str = ""
    """What its message ends with where it is too close to call: that it is, and why."""

    @property
    def is_failed_as_close(self) -> bool:
        """Whether it keeps its limit, and fails for being too close to it."""
        return self.close and not self.passed and holds(self.value, self.limit)

    @property
    def accepted(self) -> bool:
        """Whether it stands in nobody's way."""
        return self.passed or self.waiver is not None

    @property
    def site(self) -> str:
        return self.reading.site.name if self.reading else self.limit.site

    @property
    def usage(self) -> float:
        """Share of the limit that is used, 1.0 at the limit; NaN where the metric has no such share (dB)."""
        if self.limit.sense == "max" and self.limit.bound > 0:
            return self.value / self.limit.bound
        return math.nan
