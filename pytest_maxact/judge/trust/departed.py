"""How far an artifact departs from its source, as it is told to people: intervals only of as many samples as make them
hold (`effects.MANY`), the rule by which a verdict takes them too.
"""

import math
from dataclasses import replace

from pytest_maxact.judge.trust.effects import MANY
from pytest_maxact.record.source import AgainstSource, Departure, Estimate


def believed(found: AgainstSource) -> AgainstSource:
    """The same, in which an interval of too few samples has no ends: NaN, as where there is none."""
    told, noise = (one and _believed(one) for one in (found.predictions, found.noise))
    return replace(found, predictions=told, noise=noise)


def _believed(departure: Departure) -> Departure:
    if departure.samples >= MANY:
        return departure
    return replace(
        departure,
        figures={name: _without_ends(one) for name, one in departure.figures.items()},
        confidence=tuple(
            replace(one, mean_kl=_without_ends(one.mean_kl), top1_agreement=_without_ends(one.top1_agreement))
            for one in departure.confidence
        ),
    )


def _without_ends(figure: Estimate) -> Estimate:
    return replace(figure, low=math.nan, high=math.nan)
