"""One limit: a bound on one metric of one site, with everything a report may say of it."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_maxact.errors import InputError, name_in_id
from pytest_maxact.numbers import sites
from pytest_maxact.numbers.formats import BF16_MAX
from pytest_maxact.record.metrics.metric import Kind, Metric

CARRIER = sites.CARRIER
_COUNTS = (Kind.NONFINITE, Kind.UNREACHED)
_MAGNITUDES = (Kind.MAX_ABS, Kind.RMS, Kind.QUANTILE)
LEAST_DECIBELS = -100.0
"""No error of a number format lies below."""
WILDCARD = re.compile(r"\[[^\]]*\]|[*?]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One bound on one metric of one site, and everything a report may say of it.

    `sense` is "max" (the value may not exceed `bound`) or "min". `figure` with `headroom` gave `bound`, where a figure
    stands behind it. `rule` names in words what it comes from, `file` and `line` where it is written. `envelope`: taken
    from the largest figures of other shapes of the family. `of_layer`: the figure is the layer's own, and not the
    largest of its kind. `against`: the baseline that the metric compares with, and `floor` the absolute value below (of
    an SQNR: above) which no change counts; `of_source`: whether it is the source that the artifact was made from.
    `of_sites`: those of single sites, of a check that stands for several, which is told as the widest of them until one
    is judged.

    A bound that no number breaks is refused, whatever it was computed from: it would be a check that cannot fail.
    """

    site: str
    metric: Metric
    bound: float
    sense: str
    rule: str
    source: str
    file: str
    line: int
    figure: float | None = None
    headroom: float | None = None
    envelope: bool = False
    of_layer: bool = False
    against: str = ""
    of_source: bool = False
    floor: float | None = None
    of_sites: tuple["Limit", ...] = ()

    def __post_init__(self) -> None:
        most = BF16_MAX if self.metric.kind in _MAGNITUDES else math.nextafter(math.inf, 0)
        least = LEAST_DECIBELS if self.metric.is_in_decibels else -math.nextafter(math.inf, 0)
        if self.bound > most if self.sense == "max" else self.bound < least:
            figure = f" ({self.figure:g} with headroom {self.headroom:g})" if self.figure and self.headroom else ""
            raise InputError(
                f"{self.file}:{self.line}: {self.check} would be limited to {self.bound:g}{figure}, which no number "
                "breaks\n"
                "  lower the figure or its headroom"
            )

    @property
    def name(self) -> str:
        """The metric, and what it compares with: `max_abs`, `growth[checkpoint-500]`."""
        return f"{self.metric}[{self.against}]" if self.against else self.metric.name

    @property
    def check(self) -> str:
        """The check's name below the gate's collector: `layers.12.hidden::max_abs`."""
        against = f"[{name_in_id(self.against)}]" if self.against else ""
        return f"{name_in_id(self.site)}::{self.metric}{against}"


def bound_sites(limits: Iterable[Limit], known: Iterable[sites.Site]) -> tuple[str, ...]:
    """Of the `known` sites those at which a figure is bound, `carrier` first where M is; counts alone, of what is not
    finite or was not reached, which every site is held to, bind none.
    """
    bound = {limit.site for limit in limits if limit.metric.kind not in _COUNTS}
    return tuple(name for name in (CARRIER, *(site.name for site in known)) if name in bound)


def specificity(pattern: str, name: str) -> tuple[bool, int]:
    """Which of several patterns that match `name` wins: the exact name, then the one with the most literal
    characters.
    """
    return pattern == name, len(WILDCARD.sub("", pattern))


MODEL = "model"
"""Stands in a limit for the whole model, where other limits name a site."""
PREDICTIONS = "predictions"
"""Stands there for the model's own predictions."""
STRESS = "stress"
"""Stands there for inputs that no corpus has."""
HUNT = "hunt"
"""Stands there for the worst inputs that a search found."""
